"""What happened to a user, newest first: what arrived of him, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, NamedTuple

from headrace.lake.tables import Tables, among, quoted
from headrace.lake.users import Deletion

Kind = Literal["event", "transition"]
SPANS: Final = (1, 3, 12, 48)
"""Days that are read at once, more and more of them: most users were here lately."""
TABLES: Final[Mapping[Kind, Literal["events", "transitions"]]] = {
    "event": "events",
    "transition": "transitions",
}
PATIENCE_SECONDS: Final = 0.25
"""After which no more days are read for one page: the next page goes on with them."""


class Place(NamedTuple):
    """Where a page ends. Rows are ordered by day and batch; in a batch transitions, by id, come
    before events, by partition and offset: all of them backwards.

    ``n`` is None where nothing of the day has been told yet.
    """

    day: date
    n: int | None = None
    kind: Kind = "transition"
    partition: int = -1
    offset: int = -1
    id: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the events or the transitions table, and where it stands."""

    kind: Kind
    row: Mapping[str, Any]

    @property
    def place(self) -> Place:
        """Where it stands."""
        row = self.row
        if self.kind == "event":
            return Place(row["day"], row["n"], "event", row["partition"], row["offset"])
        return Place(row["day"], row["n"], "transition", id=row["id"])


@dataclass(frozen=True, slots=True)
class Part:
    """Some entries, newest first, and where the next ones begin; None: there are no more."""

    entries: tuple[Entry, ...]
    next: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose entries are asked for, of which kinds, and at most how many.

    ``deletions`` are those of each of the user's ids, if there was one: nothing from before is
    told. With ``types`` only events of those are.
    """

    canonical: str
    deletions: Mapping[str, Deletion | None]
    limit: int
    kinds: Sequence[Kind] = ("event", "transition")
    types: Sequence[str] = ()

    def statement(self, kind: Kind, where: str) -> str:
        """The SQL for rows of ``kind`` for which ``where`` is so: one more than are asked for."""
        return self._events(where) if kind == "event" else self._transitions(where)

    def _events(self, where: str) -> str:
        whose = " OR ".join(
            f"user_id = {quoted(user)}" + (f" AND ts > {int(gone.until)}" if gone else "")
            for user, gone in self.deletions.items()
        )
        which = f" AND type IN {among(self.types)}" if self.types else ""
        return (
            'SELECT day, n, "partition", "offset", at, event_id, user_id, type, ts, properties'
            f" FROM events WHERE verdict = 'accepted' AND {where} AND ({whose}){which}"
            f' ORDER BY day DESC, n DESC, "partition" DESC, "offset" DESC LIMIT {self.limit + 1}'
        )

    def _transitions(self, where: str) -> str:
        gone = self.deletions.get(self.canonical)
        # Whatever was told until a deletion was carried out is told by what it forgot.
        alive = f" AND n > {int(gone.n)}" if gone else ""
        return (
            "SELECT day, n, id, at, effective_at, segment, version, change, reason, measures"
            f" FROM transitions WHERE {where} AND user_id = {quoted(self.canonical)}{alive}"
            f" ORDER BY day DESC, n DESC, id DESC LIMIT {self.limit + 1}"
        )


def part_of(
    tables: Tables,
    asked: Question,
    *,
    before: Place | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Part:
    """What stands behind ``before``, or the newest.

    A part may have fewer entries than were asked for, or none, and still a next one: other days
    were not read yet.
    """
    days = set[date]().union(*(tables.days(TABLES[kind]) for kind in asked.kinds))
    if before is not None:
        days = {day for day in days if day <= before.day}
    entries: list[Entry] = []
    began = clock()
    for some, rest in _spans(sorted(days, reverse=True)):
        for kind in asked.kinds:
            where = f"day BETWEEN {_day(some[-1])} AND {_day(some[0])} AND {_behind(kind, before)}"
            found = tables.ask(TABLES[kind], asked.statement(kind, where))
            entries += (Entry(kind, row) for row in found.to_pylist())
        if len(entries) > asked.limit:
            break
        if rest and clock() - began > PATIENCE_SECONDS:
            return Part(_ordered(entries), Place(rest[0]))
    kept = _ordered(entries)
    more = len(kept) > asked.limit
    return Part(kept[: asked.limit], kept[asked.limit - 1].place if more else None)


def _spans(days: list[date]) -> Iterator[tuple[list[date], list[date]]]:
    """Days to read together, and those after them."""
    spans = iter(SPANS)
    while days:
        span = next(spans, SPANS[-1])
        yield days[:span], days[span:]
        days = days[span:]


def _ordered(entries: list[Entry]) -> tuple[Entry, ...]:
    def key(entry: Entry) -> tuple[Any, ...]:
        place = entry.place
        return place.day, place.n, place.kind, place.partition, place.offset, place.id

    return tuple(sorted(entries, key=key, reverse=True))


def _day(day: date) -> str:
    return f"DATE '{day.isoformat()}'"


def _behind(kind: Kind, before: Place | None) -> str:
    """The condition of rows of a kind that stand behind ``before``."""
    if before is None or before.n is None:
        return "TRUE"
    today = f"day = {_day(before.day)}"
    earlier = f"(day < {_day(before.day)} OR {today} AND n < {int(before.n)})"
    if kind == "transition" and before.kind == "event":
        return earlier
    if before.kind == "transition":
        same = f"id < {quoted(before.id)}" if kind == "transition" else "TRUE"
    else:
        part, offset = int(before.partition), int(before.offset)
        same = f'("partition" < {part} OR "partition" = {part} AND "offset" < {offset})'
    return f"({earlier} OR {today} AND n = {int(before.n)} AND {same})"
