"""Segment versions: immutable texts, of which at most one per segment is active."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from headrace.rules.model import Segment
from headrace.rules.yaml import parse_segment
from headrace.store.tables import segment_versions as table


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """One version as Postgres holds it."""

    segment_id: str
    version: int
    state: str
    text: str
    content_hash: str
    author: str
    reason: str
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None

    @property
    def segment(self) -> Segment:
        """What the text means."""
        return parse_segment(self.text, self.place)

    @property
    def place(self) -> str:
        """What problems call the text: it has no file."""
        return f"postgres:{self.segment_id}@{self.version}"


@dataclass(frozen=True, slots=True)
class Created:
    """A version that came to be, and the one it replaces."""

    segment_id: str
    version: int
    replaces: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """How the active versions differ from what they should be."""

    created: tuple[Created, ...]
    unchanged: tuple[str, ...]
    retired: tuple[StoredVersion, ...]


def active(connection: Connection) -> list[StoredVersion]:
    """The active version of every segment, by segment id."""
    return _rows(connection, table.c.state == "active")


def all_of(connection: Connection, segment_id: str) -> list[StoredVersion]:
    """Every version of a segment, oldest first."""
    return _rows(connection, table.c.segment_id == segment_id)


def activate(
    connection: Connection,
    texts: Mapping[str, str],
    *,
    before: Sequence[StoredVersion],
    prune: bool,
    author: str,
    reason: str,
) -> Edits:
    """Make ``texts`` (canonical, by segment id) active, given the versions active ``before``.

    An unchanged text gets no version. Segments not named keep theirs, or are retired with
    ``prune``.
    """
    current = {version.segment_id: version for version in before}
    changed = sorted(id for id in texts if id not in current or current[id].text != texts[id])
    retired = tuple(v for id, v in sorted(current.items()) if prune and id not in texts)
    _retire(
        connection,
        [id for id in changed if id in current] + [v.segment_id for v in retired],
    )
    newest = _newest(connection, changed)
    created = tuple(
        Created(id, newest.get(id, 0) + 1, current[id].version if id in current else None)
        for id in changed
    )
    if created:
        rows = [
            {
                "segment_id": new.segment_id,
                "version": new.version,
                "text": texts[new.segment_id],
                "content_hash": hashlib.sha256(texts[new.segment_id].encode()).hexdigest(),
            }
            for new in created
        ]
        alike = {"state": "active", "author": author, "reason": reason}
        connection.execute(insert(table).values(activated_at=func.now(), **alike), rows)
    return Edits(
        created=created,
        unchanged=tuple(sorted(texts.keys() - set(changed))),
        retired=retired,
    )


def _retire(connection: Connection, segment_ids: Collection[str]) -> None:
    if segment_ids:
        connection.execute(
            update(table)
            .where(table.c.segment_id.in_(segment_ids), table.c.state == "active")
            .values(state="retired", retired_at=func.now())
        )


def _newest(connection: Connection, segment_ids: Sequence[str]) -> dict[str, int]:
    rows = connection.execute(
        select(table.c.segment_id, func.max(table.c.version).label("newest"))
        .where(table.c.segment_id.in_(segment_ids))
        .group_by(table.c.segment_id)
    )
    return {row.segment_id: row.newest for row in rows}


def _rows(connection: Connection, condition: ColumnElement[bool]) -> list[StoredVersion]:
    rows = connection.execute(
        select(table).where(condition).order_by(table.c.segment_id, table.c.version)
    )
    return [StoredVersion(**row) for row in rows.mappings()]
