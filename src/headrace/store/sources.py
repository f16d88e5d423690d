"""Sources: who may send events over HTTP, and what. Of a write key its hash alone is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, func, insert, select, update

from headrace.errors import OperatorError
from headrace.store import audit
from headrace.store.audit import Entry
from headrace.store.tables import sources

KEY_PREFIX = "hrw_"
Bots = Literal["keep", "flag", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One sender.

    ``origins`` are the web pages that may send with its key, ``may_join`` and ``may_delete`` what
    it may say beside events and traits. Events that ``bots`` send are kept as they are, flagged, or
    refused; all of one that ``is_test`` are flagged.
    """

    name: str
    key_hash: str
    key_hint: str
    origins: tuple[str, ...] = ()
    events_per_second: int
    may_join: bool = True
    may_delete: bool = False
    bots: Bots = "keep"
    is_test: bool = False
    created_at: datetime | None = None
    revoked_at: datetime | None = None


def new_key() -> str:
    """A write key: 256 random bits behind a prefix that scanners of code can know."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """What is kept of a key. It is random, so a slow hash would protect nothing more."""
    return hashlib.sha256(key.encode()).hexdigest()


def add(connection: Connection, source: Source, *, by: str) -> None:
    """Keep a new source; OperatorError when one of that name is there. Needs the schema's lock."""
    taken = select(sources.c.name).where(
        sources.c.name == source.name, sources.c.revoked_at.is_(None)
    )
    if connection.execute(taken).first():
        raise OperatorError(
            f"there is a source {source.name!r} already; `headrace sources revoke` ends it",
            code="HR944",
        )
    row = {
        "name": source.name,
        "key_hash": source.key_hash,
        "key_hint": source.key_hint,
        "origins": list(source.origins),
        "events_per_second": source.events_per_second,
        "may_join": source.may_join,
        "may_delete": source.may_delete,
        "bots": source.bots,
        "is_test": source.is_test,
    }
    connection.execute(insert(sources).values(row))
    told = {name: value for name, value in row.items() if name != "key_hash"}
    audit.append(connection, by, [Entry(action="source.add", subject=source.name, after=told)])


def revoke(connection: Connection, name: str, *, by: str) -> bool:
    """End a source; False when none of that name is open. Needs the schema's lock."""
    done = connection.execute(
        update(sources)
        .where(sources.c.name == name, sources.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(sources.c.key_hint)
    ).one_or_none()
    if done is not None:
        before = {"key_hint": done.key_hint}
        audit.append(connection, by, [Entry(action="source.revoke", subject=name, before=before)])
    return done is not None


def every(connection: Connection) -> list[Source]:
    """All sources, those that were revoked too, by name and age."""
    rows = connection.execute(
        select(*(column for column in sources.c if column.name != "id")).order_by(
            sources.c.name, sources.c.id
        )
    )
    return [Source(**{**row, "origins": tuple(row["origins"])}) for row in rows.mappings()]
