"""Segments that mean the same, and segments that are part of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from headrace.errors import Problem
from headrace.rules.meaning.quantities import State
from headrace.rules.meaning.reasoning import (
    DEEPEST_REFERENCE,
    Alternative,
    Reasoning,
    TooWide,
    is_transparent,
)
from headrace.rules.model import Segment
from headrace.rules.references import segment_references
from headrace.rules.source import Places

MOST_TOLD: Final = 3
MOST_CLAUSES: Final = 12
"""Ways to fail of a segment that may turn out to hold others; most have one for each part."""
MOST_RELATED: Final = 120
"""Quantities of one event that are held against each other: the work grows with the square."""


def check_overlaps(
    segments: Sequence[Segment], reasoning: Reasoning, places: Mapping[str, Places]
) -> Iterator[Problem]:
    """One warning for each segment that says again what another says, or part of it."""
    wider = _wider(segments, reasoning)
    by_id = {segment.id: segment for segment in segments}
    reached = _reached(by_id)
    first: dict[str, str] = {}
    for segment in segments:  # by id: the first of equal ones is the one that others repeat
        same = [
            other
            for other in wider.get(segment.id, ())
            if other < segment.id
            and segment.id in wider.get(other, ())
            and by_id[other].stay == segment.stay
            and by_id[other].refresh == segment.refresh
        ]
        if same:
            first[segment.id] = min(same)
    for segment in segments:
        where = places.get(segment.id, Places(segment.id)).of(("id",))
        if segment.id in first:
            other = first[segment.id]
            message = f"{segment.id!r} means the same as {other!r}"
            hint = f"see {places.get(other, Places(other)).of(('id',))}"
            yield Problem("HR314", message, where, hint, severity="warning")
            continue
        if not is_transparent(segment):
            continue
        around = [
            other
            for other in wider.get(segment.id, ())
            if other not in first
            and is_transparent(by_id[other])
            and segment.id not in wider.get(other, ())
            # Who refers to a segment knows that the two overlap.
            and other not in reached[segment.id]
            and segment.id not in reached[other]
        ]
        nearest = _nearest(around, wider)
        if nearest:
            yield Problem(
                "HR315",
                f"everybody in {segment.id!r} is in {_listed(nearest)} too",
                where,
                f"if that is meant, say so: all: [{{segment: {nearest[0]}}}, ..]",
                severity="warning",
            )


def _nearest(around: Sequence[str], wider: Mapping[str, set[str]]) -> list[str]:
    """Segments of ``around`` that hold no other of it, as many as are told."""
    nearest: list[str] = []
    # What others of them hold has fewer around itself than these.
    for name in sorted(around, key=lambda one: (-len(wider.get(one, ())), one)):
        if not any(name in wider.get(near, ()) for near in nearest):
            nearest.append(name)
        if len(nearest) > MOST_TOLD:
            break
    return sorted(nearest)


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:MOST_TOLD]]
    if len(names) > MOST_TOLD:
        return f"{', '.join(shown)} and others"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _reached(segments: Mapping[str, Segment]) -> dict[str, set[str]]:
    """The segments that each segment refers to, directly or through others."""
    direct = {
        name: {other for other, _ in segment_references(segment)}
        for name, segment in segments.items()
    }
    reached: dict[str, set[str]] = {}
    for name, others in direct.items():
        waiting, seen = list(others), set[str]()
        while waiting:
            other = waiting.pop()
            if other not in seen:
                seen.add(other)
                waiting += direct.get(other, ())
        reached[name] = seen
    return reached


@dataclass(slots=True)
class _Demands:
    """What a segment needs, as clauses: in each, one of its sets of values must be missed."""

    clauses: int = 0
    ways: list[Alternative] = field(default_factory=list)


def _wider(segments: Sequence[Segment], reasoning: Reasoning) -> dict[str, set[str]]:
    """For each segment, others that hold everybody in it.

    A segment B does not hold in some ways; everybody of A is in B when each way of A rules out
    each of those. Sets of values are numbered across all segments, so that what one way of A
    rules out is found once, however many segments ask.
    """
    demands: dict[str, _Demands] = {}
    asked: dict[int, dict[State, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for segment in segments:
        try:
            ways = reasoning.alternatives((segment.condition, True), "", DEEPEST_REFERENCE)
            failing = reasoning.alternatives((segment.condition, False), "", DEEPEST_REFERENCE)
        except TooWide:
            continue
        known = [one for way in ways if (one := reasoning.narrowed(way)) is not None]
        is_asked = len(failing) <= MOST_CLAUSES
        clauses = [one for one in failing if is_asked and reasoning.narrowed(one) is not None]
        if not known or (is_asked and not clauses):
            continue  # never or always: told as such
        demands[segment.id] = _Demands(len(clauses), known)
        for place, clause in enumerate(clauses):
            for number, state in clause.items():
                asked[number][state].append((segment.id, place))
    related: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number in asked:
        for family in reasoning.quantities[number].families:
            related[family].append(number)
    found: dict[str, set[str]] = {}
    for name, demand in demands.items():
        wider: set[str] | None = None
        for way in demand.ways:
            covered = _covered(way, reasoning, asked, related)
            full = {other for other, hit in covered.items() if len(hit) == demands[other].clauses}
            wider = full if wider is None else wider & full
            if not wider - {name}:
                break
        found[name] = (wider or set()) - {name}
    return found


def _covered(
    way: Alternative,
    reasoning: Reasoning,
    asked: Mapping[int, Mapping[State, list[tuple[str, int]]]],
    related: Mapping[tuple[str, ...], list[int]],
) -> dict[str, set[int]]:
    """The clauses of each segment that ``way`` rules out."""
    covered: dict[str, set[int]] = defaultdict(set)

    def cover(number: int, state: State) -> None:
        for failing, clauses in asked[number].items():
            if state.is_apart(failing):  # type: ignore[arg-type]  # one quantity, one line
                for other, place in clauses:
                    covered[other].add(place)

    near: dict[tuple[str, ...], Alternative] = defaultdict(dict)
    for number, state in way.items():
        if number in asked:
            cover(number, state)
        for family in reasoning.quantities[number].families:
            near[family][number] = state
    for family, beside in near.items():
        others = related.get(family, ())
        for number in others if len(others) <= MOST_RELATED else ():
            if number not in way:
                found = reasoning.implied(beside, number)
                if found is not None:
                    cover(number, found)
    return covered
