"""What a new plan changes: which slots lack history, which versions come, go and replace."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.plan.model import MeasureTest, Plan, Program, Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """From one plan to another, by registry ids.

    ``replaced`` maps each version that ends to its successor in the same segment, or to None when
    the segment is retired; a version that means something else now (its catalog changed) maps to
    itself. ``names`` gives segment and version of those that end. ``added_stays`` begin with
    nobody in.
    """

    added_slots: tuple[int, ...]
    replaced: Mapping[int, int | None]
    added: tuple[int, ...]
    added_stays: tuple[int, ...]
    names: Mapping[int, tuple[str, int]]

    @property
    def is_empty(self) -> bool:
        """No version comes or goes and no slot lacks history."""
        return not (self.added_slots or self.replaced or self.added)


def diff(old: Plan | None, new: Plan) -> PlanDiff:
    """What changes when ``new`` takes over from ``old``."""
    had = {program.segment: program for program in old.programs} if old else {}
    has = {program.segment: program for program in new.programs}
    folded = {slot.id for slot in old.slots} if old else set()
    held = {stay.id for stay in old.stays} if old else set()
    replaced: dict[int, int | None] = {}
    names: dict[int, tuple[str, int]] = {}
    for segment, program in had.items():
        successor = has.get(segment)
        assert old is not None
        if successor is not None and (
            successor.version_id == program.version_id
            and _meaning(old, program) == _meaning(new, successor)
        ):
            continue
        replaced[program.version_id] = successor.version_id if successor else None
        names[program.version_id] = (segment, program.version)
    return PlanDiff(
        added_slots=tuple(sorted(slot.id for slot in new.slots if slot.id not in folded)),
        replaced=replaced,
        added_stays=tuple(sorted({stay.id for stay in new.stays} - held)),
        added=tuple(p.version_id for segment, p in has.items() if segment not in had),
        names=names,
    )


def bridge(old: Plan, new: Plan) -> Plan:
    """``old`` that also folds the slots only ``new`` has: what runs while their history is built.

    Its catalog and job are those of ``new``.
    """
    filters, bases, slots = list(old.filters), list(old.bases), list(old.slots)
    folded = {slot.id for slot in slots}
    for slot in new.slots:
        if slot.id in folded:
            continue
        places = []
        for base in (new.bases[place] for place in slot.bases):
            if base.filter is not None:
                where = new.filters[base.filter]
                base = dataclasses.replace(base, filter=_place(filters, where))
            places.append(_place(bases, base))
        steps = tuple(places) if slot.steps else ()
        slots.append(dataclasses.replace(slot, base=places[0], steps=steps))
    return dataclasses.replace(
        _with_slots(old, slots),
        catalog=new.catalog,
        event_types=tuple(sorted({base.event for base in bases})),
        filters=tuple(filters),
        bases=tuple(bases),
        job=new.job,
    )


def _with_slots(plan: Plan, slots: list[Any]) -> Plan:
    """``plan`` with ``slots`` (its own first) in the order of their ids."""
    order = sorted(range(len(slots)), key=lambda place: slots[place].id)
    moved = {place: rank for rank, place in enumerate(order)}
    return dataclasses.replace(
        plan,
        slots=tuple(slots[place] for place in order),
        measures=tuple(
            dataclasses.replace(one, slots=tuple(moved[place] for place in one.slots))
            for one in plan.measures
        ),
    )


def _place(values: list[Any], value: Any) -> int:
    if value not in values:
        values.append(value)
    return values.index(value)


def _meaning(plan: Plan, program: Program) -> Any:
    """A program with everything it refers to written out."""

    def of(tree: Tree) -> Any:
        if not isinstance(tree, int):
            return tree.kind, sorted((of(part) for part in tree.parts), key=repr)
        predicate = plan.predicates[tree]
        if not isinstance(predicate, MeasureTest):
            return predicate
        measure = plan.measures[predicate.measure]
        if measure.function == "stay":
            return next(stay.id for stay in plan.stays if stay.measure == predicate.measure)
        slots = tuple(plan.slots[place].id for place in measure.slots)
        return dataclasses.replace(measure, name="", slots=slots), predicate.cuts

    return of(program.tree)
