"""Segment versions: immutable texts, of which at most one per segment is active.

A number is active once, and a greater one than any before it in its segment: Redis and the bits
of state rows tell versions apart by number (docs/decisions/014-version-numbers-only-grow.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, insert, select, tuple_, update

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


def known_ids(connection: Connection) -> list[str]:
    """Every segment that ever had a version."""
    return list(connection.execute(select(table.c.segment_id).distinct()).scalars())


def draft(
    connection: Connection,
    texts: Mapping[str, str],
    *,
    before: Sequence[StoredVersion],
    author: str,
    reason: str,
) -> Edits:
    """Keep ``texts`` as drafts; one that is active, or a draft already, gets no version."""
    current = {version.segment_id: version for version in before}
    drafted = _drafts(connection, texts)
    changed = sorted(id for id in _changed(texts, current) if id not in drafted)
    created = _numbered(connection, changed, current)
    _insert(connection, created, texts, state="draft", author=author, reason=reason)
    return Edits(created=created, unchanged=tuple(sorted(texts.keys() - set(changed))), retired=())


def activate(
    connection: Connection,
    texts: Mapping[str, str],
    *,
    before: Sequence[StoredVersion],
    retire: Collection[str] = (),
    anew: bool = False,
    author: str,
    reason: str,
) -> Edits:
    """Make ``texts`` (canonical, by segment id) active, given the versions active ``before``.

    A text becomes active under the number of its draft, unless a later version was active
    meanwhile, and else under a new number. An unchanged text gets none, unless ``anew``. Segments
    not named keep theirs; those in ``retire`` end.
    """
    current = {version.segment_id: version for version in before}
    changed = sorted(texts) if anew else _changed(texts, current)
    retired = tuple(current[id] for id in sorted(current.keys() & set(retire)))
    _retire(
        connection,
        [id for id in changed if id in current] + [v.segment_id for v in retired],
    )
    drafted = {} if anew else _drafts(connection, {id: texts[id] for id in changed})
    promoted = tuple(
        Created(id, version, current[id].version if id in current else None)
        for id, version in drafted.items()
    )
    fresh = _numbered(connection, [id for id in changed if id not in drafted], current)
    _promote(connection, promoted)
    _insert(connection, fresh, texts, state="active", author=author, reason=reason)
    _close_drafts(connection, {id: texts[id] for id in changed})
    return Edits(
        created=tuple(sorted((*promoted, *fresh), key=lambda new: new.segment_id)),
        unchanged=tuple(sorted(texts.keys() - set(changed))),
        retired=retired,
    )


def _changed(texts: Mapping[str, str], current: Mapping[str, StoredVersion]) -> list[str]:
    return sorted(id for id in texts if id not in current or current[id].text != texts[id])


def _drafts(connection: Connection, texts: Mapping[str, str]) -> dict[str, int]:
    """The newest draft of each of ``texts`` that may still become active under its number."""
    if not texts:
        return {}
    later = table.alias()
    overtaken = (
        select(later.c.version)
        .where(
            later.c.segment_id == table.c.segment_id,
            later.c.version > table.c.version,
            later.c.activated_at.is_not(None),
        )
        .exists()
    )
    rows = connection.execute(
        select(table.c.segment_id, func.max(table.c.version).label("newest"))
        .where(table.c.state == "draft", _says(texts), ~overtaken)
        .group_by(table.c.segment_id)
    )
    return {row.segment_id: row.newest for row in rows}


def _says(texts: Mapping[str, str]) -> ColumnElement[bool]:
    pairs = [(id, _hash(text)) for id, text in texts.items()]
    return tuple_(table.c.segment_id, table.c.content_hash).in_(pairs)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _numbered(
    connection: Connection, segment_ids: Sequence[str], current: Mapping[str, StoredVersion]
) -> tuple[Created, ...]:
    newest = _newest(connection, segment_ids)
    return tuple(
        Created(id, newest.get(id, 0) + 1, current[id].version if id in current else None)
        for id in segment_ids
    )


def _insert(
    connection: Connection,
    created: Sequence[Created],
    texts: Mapping[str, str],
    *,
    state: str,
    author: str,
    reason: str,
) -> None:
    rows = [
        {
            "segment_id": new.segment_id,
            "version": new.version,
            "text": texts[new.segment_id],
            "content_hash": _hash(texts[new.segment_id]),
        }
        for new in created
    ]
    if rows:
        alike = {"state": state, "author": author, "reason": reason}
        activated_at = func.now() if state == "active" else None
        connection.execute(insert(table).values(activated_at=activated_at, **alike), rows)


def _promote(connection: Connection, promoted: Sequence[Created]) -> None:
    if promoted:
        chosen = [(new.segment_id, new.version) for new in promoted]
        connection.execute(
            update(table)
            .where(tuple_(table.c.segment_id, table.c.version).in_(chosen))
            .values(state="active", activated_at=func.now())
        )


def _close_drafts(connection: Connection, texts: Mapping[str, str]) -> None:
    """Drafts that say what is active now have had their turn."""
    if texts:
        connection.execute(
            update(table)
            .where(table.c.state == "draft", _says(texts))
            .values(state="retired", retired_at=func.now())
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
