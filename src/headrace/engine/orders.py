"""Values that hang on the order of events: first and last ones, and sequences."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from headrace.engine.calendar import period_ends
from headrace.engine.logs import Entry, Log
from headrace.engine.program import NEVER
from headrace.engine.state import Ints
from headrace.engine.values import test_of
from headrace.engine.windows import tails
from headrace.plan.lines import MISSING
from headrace.plan.model import Link, Measure


@dataclass(frozen=True, slots=True)
class Recalled:
    """Of ``users``, each once: the value, and the instant at which time alone may change it."""

    users: Ints
    values: Ints
    due: Ints


@dataclass(frozen=True, slots=True)
class _View:
    """A window at one instant: events from ``tail`` on are in it, and leave it by ``leaves``."""

    at: int
    tail: int
    leaves: Callable[[int], int]


_Read: TypeAlias = Callable[[list[Entry], _View], tuple[int, int]]


def recalled(measure: Measure, log: Log, at: int | Ints) -> Recalled:
    """The values at ``at``: one instant, or one for each user of the group."""
    of = log.get(measure.slots[0], {})
    users = np.fromiter(of, np.int64, len(of))
    instants = np.full(len(users), at, np.int64) if isinstance(at, int) else at[users]
    views = zip(
        instants.tolist(), tails(measure, instants).tolist(), _ends(measure, instants), strict=True
    )
    read = _reader(measure)
    found = [
        read(entries, _View(now, tail, partial(_leaves, measure, end)))
        for entries, (now, tail, end) in zip(of.values(), views, strict=True)
    ]
    values, due = np.array(found, np.int64).reshape(-1, 2).T
    return Recalled(users, values, due)


def _ends(measure: Measure, instants: Ints) -> list[int]:
    if measure.period is None:
        return [NEVER] * len(instants)
    ends: list[int] = period_ends(measure.period, measure.zone, instants).tolist()
    return ends


def _leaves(measure: Measure, end: int, ts: int) -> int:
    """When an event at ``ts`` leaves the window; ``end`` is that of the current period."""
    if measure.length:
        return (ts // measure.hop + 1) * measure.hop + measure.length
    return end


def _reader(measure: Measure) -> _Read:
    if measure.links:
        return partial(_sequence, measure.links)
    place = 0 if measure.function == "first" else -1
    if measure.test is None:
        return partial(_picked, place, _itself, MISSING)
    passes = test_of(measure.test.type, measure.test.operator, measure.test.value)
    return partial(_picked, place, passes, 0)


def _itself(number: int) -> int:
    return number


def _picked(
    place: int, value: Callable[[Any], int], missing: int, entries: list[Entry], view: _View
) -> tuple[int, int]:
    inside = [entry for entry in entries if entry[0] >= view.tail]
    if not inside:
        return missing, NEVER
    ts, _, held = inside[place]
    return value(held), view.leaves(ts)


def _sequence(links: tuple[Link, ...], entries: list[Entry], view: _View) -> tuple[int, int]:
    """1 when it has happened, and when that changes."""
    last = max(place for place, link in enumerate(links) if not link.forbidden)
    spans = []
    forbidden = [
        (link.within or 0, [ts for ts, _, steps in entries if steps & 1 << link.step])
        for link in links[last + 1 :]
    ]
    for ts in _completed(links[: last + 1], entries):
        silent = _silent(forbidden, ts) if ts >= view.tail else None
        if silent is not None and silent < view.leaves(ts):
            spans.append((silent, view.leaves(ts)))
    until = view.at
    for start, end in sorted(spans):
        if start <= until:
            until = max(until, end)
    if until > view.at:
        return 1, until
    return 0, min((start for start, _ in spans if start > view.at), default=NEVER)


def _completed(links: tuple[Link, ...], entries: list[Entry]) -> list[int]:
    """The instants at which all of ``links`` have happened in their order.

    Of the events that a step may follow the latest is the best: the gap to it is the smallest,
    and what lies between is the least.
    """
    reached: list[int] | None = None
    barrier = 0
    for link in links:
        bit = 1 << link.step
        if link.forbidden:
            barrier |= bit
        elif reached is None:
            reached = [ts for ts, _, steps in entries if steps & bit]
        else:
            reached = _following(reached, link, barrier, entries)
            barrier = 0
    return reached or []


def _following(reached: list[int], link: Link, barrier: int, entries: list[Entry]) -> list[int]:
    found, place, barred, waiting = [], 0, -1, -1
    now = -1
    for ts, _, steps in entries:
        if ts > now:  # what happened at one instant follows nothing of it
            now, barred = ts, max(barred, waiting)
        while place < len(reached) and reached[place] < ts:
            place += 1
        if place and steps & 1 << link.step:
            before = reached[place - 1]
            if barred <= before and (link.within is None or ts - before <= link.within):
                found.append(ts)
        if steps & barrier:
            waiting = ts
    return found


def _silent(forbidden: list[tuple[int, list[int]]], ts: int) -> int | None:
    """From when on nothing that must not follow ``ts`` can follow; None when it has.

    ``forbidden`` are how long it must not, and when it did.
    """
    silent = ts
    for within, happened in forbidden:
        following = bisect_right(happened, ts)
        if following < len(happened) and happened[following] <= ts + within:
            return None
        silent = max(silent, ts + within)
    return silent
