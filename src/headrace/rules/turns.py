"""When time alone changes a membership next: by trying every instant at which it could."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.rules.catalog import Catalog
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Measure,
    Not,
    Period,
    Segment,
    Window,
    Within,
)
from headrace.rules.model import Sequence as Steps
from headrace.rules.reference import reference_members
from headrace.rules.reference_calendar import period_end
from headrace.rules.reference_facts import LAST_INSTANT, read_facts


def next_turn(
    lines: Sequence[bytes],
    segments: Sequence[Segment],
    catalog: Catalog,
    at: int,
    member: tuple[str, str],
) -> int | None:
    """The first instant after ``at`` at which (segment, user) is in where it was out, or out.

    Nothing of ``lines`` is later than ``at``. None when it never changes again.
    """
    instants = {at}
    for fact in read_facts(lines, catalog, at):
        instants |= {fact.ts, *(value for value in fact.values.values() if type(value) is int)}
    turns = {turn for one in segments for turn in _turns(one, instants, at)}
    was = member in reference_members(lines, segments, catalog, at)
    for turn in sorted(turn for turn in turns if at < turn <= LAST_INSTANT):
        if (member in reference_members(lines, segments, catalog, turn)) is not was:
            return turn
    return None


def _turns(segment: Segment, instants: set[int], at: int) -> set[int]:
    """Every instant at which time may change something for ``segment``, and some more."""
    turns = set(_of_condition(segment.condition, instants, at))
    stay = segment.stay
    if stay is not None:
        if stay.exit_when is not None:
            turns.update(_of_condition(stay.exit_when, instants, at))
        for _ in range(2):  # who dwelt may leave, who left may come back
            steps = turns | instants
            turns |= {one + length for one in steps for length in (stay.min_dwell, stay.cooldown)}
    return turns


def _of_condition(condition: Condition, instants: set[int], at: int) -> Iterator[int]:
    match condition:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _of_condition(part, instants, at)
        case Not(part):
            yield from _of_condition(part, instants, at)
        case Compare(subject, _, value):
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Ago):
                    yield from (i + one.length + step for i in instants for step in (0, 1))
            if isinstance(subject, Measure):
                yield from _of_window(subject.window, instants, at)
        case Steps(steps, window):
            yield from _of_window(window, instants, at)
            for step in steps:
                if step.within is not None:
                    yield from (instant + step.within for instant in instants)


def _of_window(window: Window, instants: set[int], at: int) -> Iterator[int]:
    match window:
        case Within(length, hop):
            yield from (instant // hop * hop + hop + length for instant in instants)
        case Period(name, zone):
            yield period_end(name, zone, at)
