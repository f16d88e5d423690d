"""A plan as arrays: what the kernel looks things up in, made once per plan and process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import orjson

from headrace.engine.state import Bools, Ints
from headrace.plan.lines import MISSING
from headrace.plan.model import (
    LOGGED,
    MeasureTest,
    Plan,
    Predicate,
    SampleTest,
    TraitTest,
    Tree,
    ValueTest,
)
from headrace.rules.catalog import FieldType
from headrace.rules.model import COUNTING, AllOf, AnyOf, Compare, Condition, Not, Property

EMPTY_IS_ZERO = (*COUNTING, "sum", "distinct", "sequence", "stay")

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Leaf:
    """The predicate at ``place`` in a rule's row of predicates; ``kind`` says where it looks."""

    place: int
    kind: str  # "span": one interval of a measure, "line": several, "other"


@dataclass(frozen=True, slots=True)
class Gate:
    """AND, OR or NOT."""

    kind: str
    parts: tuple[Leaf | Gate, ...]


Shape: TypeAlias = Leaf | Gate


@dataclass(frozen=True, slots=True)
class Alike:
    """Rules of one shape: row i of ``predicates`` belongs to the i-th of them."""

    shape: Shape
    predicates: Ints


@dataclass(frozen=True, slots=True)
class EventProgram:
    """What one event type needs: the fields to read, and per slot its place and filter."""

    fields: dict[str, FieldType]
    slots: tuple[int, ...]


class Compiled:
    """A plan's arrays. Slots, measures, predicates and rules go by their places in the plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.slot_ids = np.array([slot.id for slot in plan.slots], np.int64)
        self.hops = np.array([slot.hop for slot in plan.slots], np.int64)
        self.keeps = np.array([slot.keep for slot in plan.slots], np.int64)
        self.accumulators = np.array([slot.accumulator for slot in plan.slots], np.str_)
        self.is_set = self.accumulators == "distinct"
        self.logged = [place for place, slot in enumerate(plan.slots) if slot.accumulator in LOGGED]
        """Places of slots that keep single events."""
        self.has_extremes = any(slot.accumulator in ("min", "max") for slot in plan.slots)
        self.events = self._events()
        self.filters = plan.filters
        self._predicates()
        self._rules()

    def _events(self) -> dict[str, EventProgram]:
        slots: dict[str, list[int]] = {}
        for place, slot in enumerate(self.plan.slots):
            for event in {self.plan.bases[base].event for base in slot.bases}:
                slots.setdefault(event, []).append(place)
        return {event: self._event(event, places) for event, places in slots.items()}

    def _event(self, event: str, places: list[int]) -> EventProgram:
        plan, names = self.plan, dict[str, FieldType]()
        known = plan.catalog.events[event].properties
        of = [plan.bases[base] for place in places for base in plan.slots[place].bases]
        for base in (base for base in of if base.event == event):
            if base.field is not None and base.type is not None:
                names[base.field] = base.type
            if base.filter is not None:
                names |= {name: known[name].type for name in _names(plan.filters[base.filter])}
        return EventProgram(names, tuple(places))

    def _predicates(self) -> None:
        plan = self.plan
        count = len(plan.predicates)
        self.measure_of = np.full(count, -1, np.int64)
        self.low = np.full(count, NEVER, np.int64)
        self.high = np.full(count, NEVER, np.int64)
        self.is_ragged = np.zeros(count, np.bool_)
        """Predicates true on more than one interval."""
        cuts: list[set[int]] = [set() for _ in plan.measures]
        for place, predicate in enumerate(plan.predicates):
            if isinstance(predicate, MeasureTest):
                self.measure_of[place] = predicate.measure
                cuts[predicate.measure].update(predicate.cuts)
                self.is_ragged[place] = len(predicate.cuts) > 2
                if predicate.cuts:
                    self.low[place] = predicate.cuts[0]
                if len(predicate.cuts) > 1:
                    self.high[place] = predicate.cuts[1]
        self.cuts = [np.array(sorted(of), np.int64) for of in cuts]
        self.cut_start = np.cumsum([0, *(len(of) for of in self.cuts)])
        self.empty = np.array(
            [
                0 if one.function in EMPTY_IS_ZERO or one.test is not None else MISSING
                for one in plan.measures
            ],
            np.int64,
        )
        self.trait_predicates = [
            place
            for place, one in enumerate(plan.predicates)
            if isinstance(one, TraitTest | ValueTest)
        ]

    def _rules(self) -> None:
        plan = self.plan
        programs = plan.programs
        self.version_ids = np.array([one.version_id for one in programs], np.int64)
        self.shape_of = np.zeros(len(programs), np.int64)
        self.row_of = np.zeros(len(programs), np.int64)
        self.leaves: list[list[int]] = []
        shapes: dict[Shape, tuple[int, list[list[int]]]] = {}
        for rule, program in enumerate(programs):
            leaves: list[int] = []
            shape = self._shape(program.tree, leaves)
            number, rows = shapes.setdefault(shape, (len(shapes), []))
            self.shape_of[rule], self.row_of[rule] = number, len(rows)
            rows.append(leaves)
            self.leaves.append(leaves)
        self.shapes = [
            Alike(shape, np.array(rows, np.int64).reshape(len(rows), -1))
            for shape, (_, rows) in shapes.items()
        ]
        self.rules_by_cut = self._rules_by_cut()
        self.rules_by_predicate = _grouped(
            ((leaf, rule) for rule, leaves in enumerate(self.leaves) for leaf in set(leaves)),
            len(plan.predicates),
        )
        of_traits = set(self.trait_predicates)
        self.rule_has_trait = np.array(
            [not of_traits.isdisjoint(self._within(leaves)) for leaves in self.leaves], np.bool_
        )
        self.type_number = {event: number for number, event in enumerate(plan.event_types)}

    def rules_of(self, version_ids: Ints) -> Ints:
        """The rule of each version; -1 for versions of which the plan has none."""
        rules: Ints = self._rule_of[np.minimum(version_ids, len(self._rule_of) - 1)]
        return rules

    @cached_property
    def _rule_of(self) -> Ints:
        """By version id; one place more than there are, for all that are unknown."""
        rules = np.full(self.version_ids.max(initial=0) + 2, -1)
        rules[self.version_ids] = np.arange(len(self.version_ids))
        return rules

    def _within(self, leaves: Iterable[int]) -> set[int]:
        """``leaves``, and instead of those that look at stays what these look at."""
        found: set[int] = set()
        stays = {stay.measure: stay for stay in self.plan.stays}
        for leaf in leaves:
            stay = stays.get(int(self.measure_of[leaf]))
            if stay is None:
                found.add(leaf)
                continue
            inner: list[int] = []
            for tree in (stay.match, *([stay.exit] if stay.exit is not None else [])):
                self._shape(tree, inner)
            found |= self._within(inner)
        return found

    def _shape(self, tree: Tree, leaves: list[int]) -> Shape:
        if isinstance(tree, int):
            leaves.append(tree)
            return Leaf(len(leaves) - 1, self._kind(self.plan.predicates[tree]))
        return Gate(tree.kind, tuple(self._shape(part, leaves) for part in tree.parts))

    def _kind(self, predicate: Predicate) -> str:
        if not isinstance(predicate, MeasureTest):
            return "other"
        return "span" if len(predicate.cuts) <= 2 else "line"

    def _rules_by_cut(self) -> tuple[Ints, Ints]:
        """Cuts, numbered through over all measures -> the rules that stepping over one changes."""
        pairs = set()
        for rule, leaves in enumerate(self.leaves):
            for leaf in leaves:
                predicate = self.plan.predicates[leaf]
                if isinstance(predicate, MeasureTest):
                    start, cuts = self.cut_start[predicate.measure], self.cuts[predicate.measure]
                    for place in np.searchsorted(cuts, predicate.cuts).tolist():
                        pairs.add((int(start) + place, rule))
        return _grouped(pairs, int(self.cut_start[-1]))

    @cached_property
    def rules_of_nobody(self) -> Ints:
        """The rules that may hold for a user of whom nothing is known but the id."""
        nobody = [
            i for i, one in enumerate(self.plan.programs) if True in self._of_nobody(one.tree)
        ]
        return np.array(nobody, np.int64)

    def _of_nobody(self, tree: Tree) -> frozenset[bool]:
        """The answers that ``tree`` may give for such a user; a sample may give both."""
        if isinstance(tree, int):
            match self.plan.predicates[tree]:
                case MeasureTest(measure, cuts):
                    value = int(self.empty[measure])
                    return frozenset({sum(cut <= value for cut in cuts) % 2 == 1})
                case SampleTest():
                    return frozenset({False, True})
                case _:
                    return frozenset({False})
        answers = [self._of_nobody(part) for part in tree.parts]
        if tree.kind == "not":
            return frozenset(not answer for answer in answers[0])
        every = tree.kind == "all"
        # A gate closes as soon as one part may close it, and stays open if every part may be so.
        closing = {not every} if any((not every) in of for of in answers) else set()
        return frozenset(closing | ({every} if all(every in of for of in answers) else set()))

    @cached_property
    def rule_types(self) -> Bools:
        """[rule, event type]: does the rule look at the type?"""
        used = np.zeros((len(self.leaves), max(len(self.type_number), 1)), np.bool_)
        plan = self.plan
        for rule, measures in enumerate(self.rule_measures):
            for measure in measures:
                for base in plan.slots[plan.measures[measure].slots[0]].bases:
                    used[rule, self.type_number[plan.bases[base].event]] = True
        return used

    @cached_property
    def held_measures(self) -> frozenset[int]:
        """The measures that stays rest on."""
        inner: list[int] = []
        for stay in self.plan.stays:
            for tree in (stay.match, *([stay.exit] if stay.exit is not None else [])):
                self._shape(tree, inner)
        return frozenset(m for leaf in inner if (m := int(self.measure_of[leaf])) >= 0)

    @cached_property
    def rule_measures(self) -> list[list[int]]:
        """The measures of each rule, by name."""
        return [
            sorted({m for leaf in self._within(leaves) if (m := int(self.measure_of[leaf])) >= 0})
            for leaves in self.leaves
        ]

    @cached_property
    def measures_by_rule(self) -> tuple[Ints, Ints]:
        """(starts, measures): `rule_measures` as arrays."""
        pairs = [(rule, m) for rule, of in enumerate(self.rule_measures) for m in of]
        return _grouped(pairs, len(self.leaves))

    @cached_property
    def averages(self) -> Bools:
        """Which measures are averages."""
        return np.array([one.line == "average" for one in self.plan.measures], np.bool_)

    @cached_property
    def ages(self) -> Bools:
        """Which measures are ages."""
        return np.array([one.line == "age" for one in self.plan.measures], np.bool_)

    @cached_property
    def scales(self) -> Ints:
        """What integers of each measure count by."""
        of = {"decimal": 10_000, "average": 10_000}
        return np.array([of.get(one.line, 1) for one in self.plan.measures], np.int64)

    @cached_property
    def measure_keys(self) -> list[str]:
        """Names of measures as JSON texts."""
        return [orjson.dumps(measure.name).decode() for measure in self.plan.measures]

    @cached_property
    def rule_keys(self) -> list[str]:
        """The part of a change's text that every change of a rule shares."""
        return [
            f'"segment":{orjson.dumps(one.segment).decode()},"version":{one.version}'
            for one in self.plan.programs
        ]

    @cached_property
    def rule_names(self) -> list[str]:
        """``segment|version``, from which ids of transitions are hashed."""
        return [f"{one.segment}|{one.version}" for one in self.plan.programs]


def _names(condition: Condition) -> set[str]:
    match condition:
        case Compare(Property(name), _, _):
            return {name}
        case AllOf(parts) | AnyOf(parts):
            return {name for part in parts for name in _names(part)}
        case Not(part):
            return _names(part)
        case _:
            return set()


def _grouped(pairs: Iterable[tuple[int, int]], size: int) -> tuple[Ints, Ints]:
    """(starts, members): members of group g are ``members[starts[g]:starts[g + 1]]``."""
    ordered = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    starts = np.zeros(size + 1, np.int64)
    np.cumsum(np.bincount(ordered[:, 0], minlength=size), out=starts[1:])
    return starts, np.ascontiguousarray(ordered[:, 1])


_recent: OrderedDict[str, Compiled] = OrderedDict()


def compiled(plan: Plan) -> Compiled:
    """The arrays of ``plan``; those of the last few plans are kept."""
    known = _recent.get(plan.hash)
    if known is None:
        known = _recent[plan.hash] = Compiled(plan)
        while len(_recent) > 4:
            _recent.popitem(last=False)
    _recent.move_to_end(plan.hash)
    return known


def expand(starts: Ints, first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Members of the groups ``first[i]`` up to, without, ``last[i]``: (i of each, its place)."""
    begin, end = starts[first], starts[last]
    sizes = end - begin
    owner = np.repeat(np.arange(len(sizes)), sizes)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return owner, begin[owner] + offset


__all__ = ["Alike", "Compiled", "EventProgram", "Gate", "Leaf", "Shape", "compiled", "expand"]
