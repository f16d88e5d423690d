"""Who uses which parts of a plan, and what each rule costs beside the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from headrace.plan.lines import PRESENT
from headrace.plan.model import MeasureTest, Plan, Program, Tree
from headrace.rules import model as conditions
from headrace.rules.model import Compare, Property

Users = Mapping[int, tuple[str, ...]]
"""Place of a part -> the segments that use it, sorted."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Places of parts of a plan."""

    bases: frozenset[int]
    slots: frozenset[int]
    measures: frozenset[int]
    predicates: frozenset[int]


@dataclass(frozen=True, slots=True)
class Usage:
    """The parts that each segment rests on, through the stays it looks at, and those that are kept
    for computed traits, by ``trait NAME``."""

    parts: Mapping[str, Parts]
    kept: Mapping[str, Parts]

    @staticmethod
    def of(plan: Plan) -> Usage:
        """The usage of ``plan``."""
        return Usage(
            {program.segment: _parts(plan, program) for program in plan.programs},
            {f"trait {name}": _of_measure(plan, measure) for name, measure in plan.computed},
        )

    def users(self, kind: str) -> Users:
        """Who uses each part of a kind: ``bases slots measures predicates``."""
        found: dict[int, list[str]] = {}
        for segment, parts in (*sorted(self.parts.items()), *sorted(self.kept.items())):
            for place in getattr(parts, kind):
                found.setdefault(place, []).append(segment)
        return {place: tuple(segments) for place, segments in found.items()}

    def alone(self, segment: str) -> Parts:
        """What only ``segment`` uses: what the plan would be spared without it."""
        own = self.parts[segment]
        others = [parts for other, parts in self.parts.items() if other != segment]
        others += self.kept.values()
        return Parts(
            *(
                getattr(own, kind) - frozenset[int]().union(*(getattr(of, kind) for of in others))
                for kind in Parts.__slots__
            )
        )


def held_segments(plan: Plan) -> tuple[str, ...]:
    """Segments that rest on a stay: when batches ran decides on their members, not facts alone."""
    held = {stay.measure for stay in plan.stays}
    return tuple(name for name, of in sorted(Usage.of(plan).parts.items()) if of.measures & held)


def harmless_measures(
    plan: Plan, personal: Mapping[str, Collection[str]]
) -> tuple[frozenset[str], frozenset[str]]:
    """Names of measures, and of computed traits, that rest on no property of ``personal``, which
    names properties by event type."""
    telling = {
        place
        for place, base in enumerate(plan.bases)
        if base.field in personal.get(base.event, ())
        or not _properties(plan, base.filter).isdisjoint(personal.get(base.event, ()))
    }
    harmless = [
        telling.isdisjoint(base for slot in measure.slots for base in plan.slots[slot].bases)
        for measure in plan.measures
    ]
    return (
        frozenset(one.name for one, so in zip(plan.measures, harmless, strict=True) if so),
        frozenset(name for name, place in plan.computed if harmless[place]),
    )


def _properties(plan: Plan, number: int | None) -> frozenset[str]:
    """What a filter of the plan looks at."""
    parts = () if number is None else conditions.leaves(plan.filters[number])
    subjects = (part.subject for part in parts if isinstance(part, Compare))
    return frozenset(of.name for of in subjects if isinstance(of, Property))


def leaves(tree: Tree) -> Iterator[int]:
    """The predicates a tree looks at, repeats included."""
    if isinstance(tree, int):
        yield tree
    else:
        for part in tree.parts:
            yield from leaves(part)


def _parts(plan: Plan, program: Program) -> Parts:
    predicates = frozenset(_through_stays(plan, leaves(program.tree)))
    tests = [plan.predicates[place] for place in predicates]
    measures = frozenset(test.measure for test in tests if isinstance(test, MeasureTest))
    slots = frozenset(slot for place in measures for slot in plan.measures[place].slots)
    bases = frozenset(base for slot in slots for base in plan.slots[slot].bases)
    return Parts(bases, slots, measures, predicates)


def _of_measure(plan: Plan, measure: int) -> Parts:
    """A measure, and the predicate that keeps it: the one that asks whether it is there."""
    kept = frozenset(
        place
        for place, test in enumerate(plan.predicates)
        if isinstance(test, MeasureTest) and test.measure == measure and test.cuts == (PRESENT,)
    )
    slots = frozenset(plan.measures[measure].slots)
    bases = frozenset(base for slot in slots for base in plan.slots[slot].bases)
    return Parts(bases, slots, frozenset((measure,)), kept)


def _through_stays(plan: Plan, predicates: Iterable[int]) -> Iterator[int]:
    stays = {stay.measure: stay for stay in plan.stays}
    for place in predicates:
        yield place
        test = plan.predicates[place]
        stay = stays.get(test.measure) if isinstance(test, MeasureTest) else None
        for tree in (stay.match, stay.exit) if stay is not None else ():
            if tree is not None:
                yield from _through_stays(plan, leaves(tree))
