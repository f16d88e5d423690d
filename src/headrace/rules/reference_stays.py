"""The oracle's hysteresis: a user's whole life, instant by instant."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from headrace.rules.model import (
    Ago,
    Compare,
    Condition,
    Leaf,
    Measure,
    Period,
    Sequence,
    Stay,
    Window,
    Within,
)
from headrace.rules.reference_calendar import period_end
from headrace.rules.reference_people import Person

Holds: TypeAlias = Callable[[Condition, int], bool]
"""Does a condition hold for the person, as known at an instant?"""

FAR = 1 << 62


def turns(stay: Stay, match: Condition, steps: Iterable[int], at: int, holds: Holds) -> list[int]:
    """The instants up to ``at`` at which the person entered, left, entered again, and so on.

    ``steps`` are the instants at which what the segment rests on may change. A step at which
    nothing does has no effect, so there may be more of them than needed.
    """
    ahead = sorted(set(steps))
    inside, since = False, -FAR
    found: list[int] = []
    while ahead and ahead[0] <= at:
        now = heapq.heappop(ahead)
        if now - since < (stay.min_dwell if inside else stay.cooldown):
            continue
        leaving = holds(stay.exit_when, now) if stay.exit_when else not holds(match, now)
        if leaving if inside else holds(match, now) and not leaving:
            inside, since = not inside, now
            found.append(now)
            heapq.heappush(ahead, now + (stay.min_dwell if inside else stay.cooldown))
    return found


def instants(leaves: list[Leaf], person: Person, at: int) -> Iterator[int]:
    """Every instant at which something may change, from the person's first fact on."""
    begin = min(fact.ts for fact in person.facts)
    for fact in person.facts:
        yield fact.ts
        for leaf in leaves:
            yield from (i for i in edges(leaf, fact.ts, fact.values.values()) if begin <= i <= at)
    windows = {window_of(leaf) for leaf in leaves}
    for period in (window for window in windows if isinstance(window, Period)):
        instant = period_end(period.name, period.zone, begin)
        while instant <= at:
            yield instant
            instant = period_end(period.name, period.zone, instant)


def edges(leaf: Leaf, ts: int, values: Iterable[object]) -> Iterator[int]:
    """When a fact leaves a window, ends a gap, or grows as old as a constant says."""
    window = window_of(leaf)
    if isinstance(window, Within):
        yield ts // window.hop * window.hop + window.hop + window.length
    if isinstance(leaf, Sequence):
        yield from (ts + step.within for step in leaf.steps if step.within is not None)
    if isinstance(leaf, Compare):
        constants = leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)
        lengths = [one.length for one in constants if isinstance(one, Ago)]
        for value in (one for one in values if isinstance(one, int)):
            for length in lengths:
                yield from (value + length, value + length + 1)


def window_of(leaf: Leaf) -> Window | None:
    """The window of a measure or sequence."""
    match leaf:
        case Compare(Measure(window=window)) | Sequence(window=window):
            return window
        case _:
            return None
