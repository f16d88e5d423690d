"""Which rejected messages have been sent again, so that none is sent twice."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from headrace.store.tables import replays


def among(connection: Connection, places: Sequence[str]) -> set[str]:
    """Those of ``places`` (topic/partition/offset) that have been sent again."""
    rows = connection.execute(select(replays.c.place).where(replays.c.place.in_(places)))
    return set(rows.scalars())


def note(connection: Connection, places: Sequence[str]) -> None:
    """Remember that these have been sent again."""
    if places:
        rows = [{"place": place} for place in places]
        connection.execute(insert(replays).values(rows).on_conflict_do_nothing())
