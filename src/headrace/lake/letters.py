"""Rejected messages, by the table ``quarantine``: how many for what, and each as it came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from headrace.clock import Instant
from headrace.lake.tables import Tables, among, quoted


class Spot(NamedTuple):
    """Where a message lay on Kafka, and the batch that rejected it."""

    n: int
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that states no event, why, and when that was found."""

    spot: Spot
    reason: str
    at: Instant
    raw: bytes

    @property
    def place(self) -> str:
        """As ``headrace dlq show`` takes it."""
        return f"{self.spot.topic}/{self.spot.partition}/{self.spot.offset}"


@dataclass(frozen=True, slots=True)
class Reason:
    """How many messages were rejected for it, and when the last one was."""

    reason: str
    messages: int
    newest_at: Instant


def reasons(tables: Tables, since: date) -> list[Reason]:
    """Why messages were rejected from the day ``since`` on, the most frequent first."""
    found = tables.ask(
        "quarantine",
        'SELECT reason, count(DISTINCT ("topic", "partition", "offset")) AS messages, max(at) AS at'
        f" FROM quarantine WHERE {_from(since)} GROUP BY reason ORDER BY messages DESC, reason",
    )
    return [Reason(row["reason"], row["messages"], row["at"]) for row in found.to_pylist()]


def rejected(
    tables: Tables,
    since: date,
    *,
    reasons: tuple[str, ...] = (),
    before: Spot | None = None,
    limit: int,
) -> list[Rejected]:
    """At most ``limit`` messages rejected from the day ``since`` on, newest first, each once."""
    which = f" AND reason IN {among(reasons)}" if reasons else ""
    messages: dict[Spot, Rejected] = {}
    # A batch that was repeated may have appended them again: a page of rows may be fewer messages.
    while len(messages) < limit:
        behind = f" AND {_behind(before)}" if before is not None else ""
        rows = tables.ask(
            "quarantine",
            'SELECT n, "topic", "partition", "offset", reason, at, raw FROM quarantine'
            f" WHERE {_from(since)}{which}{behind}"
            f' ORDER BY n DESC, "topic" DESC, "partition" DESC, "offset" DESC LIMIT {limit}',
        ).to_pylist()
        for row in rows:
            before = Spot(row["n"], row["topic"], row["partition"], row["offset"])
            messages[before] = Rejected(before, row["reason"], row["at"], row["raw"] or b"")
        if len(rows) < limit:
            break
    return list(messages.values())[:limit]


def _from(since: date) -> str:
    return f"day >= DATE '{since.isoformat()}'"


def _behind(spot: Spot) -> str:
    n, topic, part, offset = int(spot.n), quoted(spot.topic), int(spot.partition), int(spot.offset)
    place = f'"partition" < {part} OR "partition" = {part} AND "offset" < {offset}'
    return f'(n < {n} OR n = {n} AND ("topic" < {topic} OR "topic" = {topic} AND ({place})))'
