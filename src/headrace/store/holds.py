"""Holds: segments whose outputs wait until a person has looked. Memberships never wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert

from headrace.store.tables import holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One segment held, why and since when."""

    segment_id: str
    reason: str
    held_at: datetime


def hold(connection: Connection, segment_id: str, reason: str, *, seen: timedelta) -> bool:
    """Hold a segment's outputs; False when they are held already, for the reason then.

    Nor are they held when a person released them less than ``seen`` ago: what shows for so long
    was seen then.
    """
    lately = holds.c.released_at > func.now() - seen
    if connection.execute(
        select(holds.c.id).where(holds.c.segment_id == segment_id, lately)
    ).first():
        return False
    done = connection.execute(
        insert(holds)
        .values(segment_id=segment_id, reason=reason)
        .on_conflict_do_nothing()
        .returning(holds.c.id)
    )
    return done.one_or_none() is not None


def release(connection: Connection, segment_id: str, *, by: str) -> bool:
    """Let a segment's outputs go; False when they are not held."""
    done = connection.execute(
        update(holds)
        .where(holds.c.segment_id == segment_id, holds.c.released_at.is_(None))
        .values(released_at=func.now(), released_by=by)
        .returning(holds.c.id)
    )
    return done.one_or_none() is not None


def open_holds(connection: Connection) -> list[Hold]:
    """The segments held now, by id."""
    rows = connection.execute(
        select(holds.c.segment_id, holds.c.reason, holds.c.held_at)
        .where(holds.c.released_at.is_(None))
        .order_by(holds.c.segment_id)
    )
    return [Hold(**row) for row in rows.mappings()]
