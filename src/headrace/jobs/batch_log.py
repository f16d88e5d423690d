"""What the streaming job's log says of its batches: one JSON line each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedBatch:
    """One batch as the stream reported it; ``ends`` are the next offsets by topic.

    ``linked`` says whether all joins and deletions so far have been carried out.
    """

    n: int
    now: int
    events: int
    accepted: int
    duplicates: int
    quarantined: int
    users: int
    messages: int
    next_due: int | None
    seconds: Mapping[str, float]
    ends: Mapping[str, Mapping[int, int]]
    linked: bool


def logged_batches(logs: Iterable[Path]) -> list[LoggedBatch]:
    """The batches in ``logs``, in order; of a batch that was run again, the last word."""
    found: dict[int, LoggedBatch] = {}
    for log in logs:
        try:
            lines = log.read_bytes().splitlines()
        except OSError:
            continue
        for line in lines:
            batch = _batch(line)
            if batch is not None:
                found[batch.n] = batch
    return [found[n] for n in sorted(found)]


def _batch(line: bytes) -> LoggedBatch | None:
    if b'"batch"' not in line:
        return None
    try:
        told = orjson.loads(line)
        if told.get("event") != "batch":
            return None
        names = ("n", "now", "events", "accepted", "duplicates", "quarantined", "users")
        return LoggedBatch(
            **{name: told[name] for name in (*names, "messages", "next_due", "seconds", "linked")},
            ends={
                topic: {int(number): end for number, end in ends.items()}
                for topic, ends in told["ends"].items()
            },
        )
    except (orjson.JSONDecodeError, KeyError, AttributeError):
        # Other programs write into the same file; a line cut by a kill is told again.
        return None


def covers(ends: Mapping[int, int], wanted: Mapping[int, int]) -> bool:
    """Has a batch that ended at ``ends`` read everything before ``wanted``?"""
    return all(ends.get(partition, 0) >= end for partition, end in wanted.items())
