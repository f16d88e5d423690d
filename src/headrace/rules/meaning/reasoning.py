"""What conditions imply: every claim made here holds for every history; silence means nothing.

A condition becomes alternatives, each a set of values per quantity; what quantities say about
each other narrows the sets; an alternative with an empty set is impossible.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from headrace.rules.catalog import Catalog
from headrace.rules.meaning.links import Link, links
from headrace.rules.meaning.numbers import Numbers
from headrace.rules.meaning.quantities import Quantity, Reading, State, read_leaf
from headrace.rules.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    InSegment,
    Leaf,
    Measure,
    Not,
    Segment,
)

MOST_ALTERNATIVES: Final = 64
MOST_RELATED: Final = 40
"""Quantities of one event that are held against each other in one alternative."""
MOST_FILTERS: Final = 150
"""Filters of one event that are held against each other: the work grows with the square."""
DEEPEST_REFERENCE: Final = 4

Signed: TypeAlias = tuple[Condition, bool]
"""A condition that holds, or one that does not."""
Alternative: TypeAlias = dict[int, State]


_Key: TypeAlias = tuple[int | str | bool, ...]
"""Conditions are known again by identity, which is why what is kept holds them too: hashing whole
trees took most of the time."""


_NO_FAMILY: Final[frozenset[tuple[str, ...]]] = frozenset()


class TooWide(Exception):
    """More alternatives than we look at."""


@dataclass(slots=True)
class Reasoning:
    """Answers about conditions over ``catalog``; ``rules`` are what references stand for."""

    catalog: Catalog
    rules: Mapping[str, Segment] = field(default_factory=dict)
    quantities: list[Quantity] = field(default_factory=list)
    _domains: list[State] = field(default_factory=list)
    _numbers: dict[Quantity, int] = field(default_factory=dict)
    _readings: dict[_Key, tuple[Leaf, tuple[int, Reading] | Condition]] = field(
        default_factory=dict
    )
    _alternatives: dict[_Key, tuple[Condition, list[Alternative] | None]] = field(
        default_factory=dict
    )
    _links: dict[tuple[int, int], tuple[Link, ...]] = field(default_factory=dict)
    _filters: dict[str, dict[Condition, Condition]] = field(default_factory=dict)
    _families: dict[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)
    _implied: dict[tuple[str, Condition | None, Condition], bool] = field(default_factory=dict)

    def is_impossible(self, parts: Iterable[Signed], event: str = "") -> bool:
        """Can nobody ever fit all of ``parts``? In a filter of ``event``: no such event."""
        parts = list(parts)
        if self._is_impossible(parts, event, 0):
            return True
        has_references = any(_refers(condition) for condition, _ in parts)
        return has_references and self._is_impossible(parts, event, DEEPEST_REFERENCE)

    def implies(self, one: Condition, other: Condition, event: str = "") -> bool:
        """Is everybody whom ``one`` holds of one whom ``other`` holds of?"""
        return self.is_impossible([(one, True), (other, False)], event)

    def alternatives(self, part: Signed, event: str = "", depth: int = 0) -> list[Alternative]:
        """The ways in which ``part`` can be; none when it cannot. TooWide when there are many.

        References are looked into ``depth`` deep, then they are taken for anything.
        """
        condition, holds = part
        key = (id(condition), holds, event, depth)
        known = self._alternatives.get(key)
        if known is None:
            try:
                known = condition, self._split(part, event, depth)
            except (TooWide, RecursionError):  # of references, each 64 levels deep
                known = condition, None
            self._alternatives[key] = known
        if known[1] is None:
            raise TooWide
        return known[1]

    def _split(self, part: Signed, event: str, depth: int) -> list[Alternative]:
        condition, holds = part
        match condition:
            case Not(inner):
                return self.alternatives((inner, not holds), event, depth)
            case AllOf(parts) | AnyOf(parts):
                found = [self.alternatives((one, holds), event, depth) for one in parts]
                is_all = isinstance(condition, AllOf) == holds
                return _product(found) if is_all else self._sum(found)
            case InSegment(name) if depth and is_transparent(self.rules.get(name)):
                return self.alternatives((self.rules[name].condition, holds), event, depth - 1)
            case _:
                read = self.read(condition, event)
                if not isinstance(read, tuple):
                    return self.alternatives((read, holds), event, depth)
                number, reading = read
                state = reading.holds if holds else reading.fails
                return [] if state.is_empty else [{number: state}]

    def read(self, leaf: Leaf, event: str = "") -> tuple[int, Reading] | Condition:
        """The number of the quantity of ``leaf`` and what the leaf says of it."""
        known = self._readings.get((id(leaf), event))
        if known is None:
            read = read_leaf(self._plain(leaf), self.catalog, event)
            found = (self.number(read.quantity), read) if isinstance(read, Reading) else read
            known = self._readings[id(leaf), event] = leaf, found
        return known[1]

    def number(self, quantity: Quantity) -> int:
        """The place of ``quantity`` among all met so far."""
        found = self._numbers.setdefault(quantity, len(self.quantities))
        if found == len(self.quantities):
            self.quantities.append(quantity)
            self._domains.append(quantity.domain)
        return found

    def narrowed(self, alternative: Alternative) -> Alternative | None:
        """The same with everything that follows in it; None when it is impossible."""
        found = [link for pair in self._pairs(alternative) for link in self.links(*pair)]
        states = dict(alternative)
        changes = bool(found)
        while changes:
            changes = False
            for link in found:
                narrow, wide = self._numbers[link.narrow], self._numbers[link.wide]
                before = states[narrow], states[wide]
                after = link.applied(*before)
                if after != before:
                    if after[0].is_empty or after[1].is_empty:
                        return None
                    states[narrow], states[wide] = after
                    changes = True
        return states

    def implied(self, alternative: Alternative, number: int) -> State | None:
        """The values that one quantity may have beside ``alternative``; None when nothing is said.

        One step from each of its quantities: what follows from what follows is in them already.
        """
        if number in alternative:
            return alternative[number]
        domain = state = self._domains[number]
        for other, its in alternative.items():
            for link in self.links(other, number):
                _, state = link.applied(its, state)
            for link in self.links(number, other):
                state, _ = link.applied(state, its)
        return None if state == domain else state

    def families(self, condition: Condition, event: str = "") -> frozenset[tuple[str, ...]]:
        """What the leaves of ``condition`` depend on, those of segments it refers to included."""
        found = self._own_families(condition, event)
        seen: set[str] = set()
        for _ in range(DEEPEST_REFERENCE):
            names = {name for kind, name, *_ in found if kind == "segment"} - seen
            seen |= names
            for name in names & self.rules.keys():
                if name not in self._families:
                    self._families[name] = self._own_families(self.rules[name].condition, "")
                found = found | self._families[name]
        return found

    def _own_families(self, condition: Condition, event: str) -> frozenset[tuple[str, ...]]:
        match condition:
            case AllOf(parts) | AnyOf(parts):
                return _NO_FAMILY.union(*(self._own_families(part, event) for part in parts))
            case Not(part):
                return self._own_families(part, event)
            case _:
                read = self.read(condition, event)
                if not isinstance(read, tuple):
                    return self._own_families(read, event)
                return frozenset(read[1].quantity.families)

    def links(self, narrow: int, wide: int) -> tuple[Link, ...]:
        """What the one quantity says about the other."""
        known = self._links.get((narrow, wide))
        if known is None:
            quantities = self.quantities[narrow], self.quantities[wide]
            known = tuple(links(*quantities, self._filter_implies))
            self._links[narrow, wide] = known
        return known

    def _is_impossible(self, parts: Sequence[Signed], event: str, depth: int) -> bool:
        try:
            found = _product([self.alternatives(part, event, depth) for part in parts])
        except TooWide:
            return False
        return all(self.narrowed(alternative) is None for alternative in found)

    def _sum(self, found: Iterable[list[Alternative]]) -> list[Alternative]:
        """All alternatives; those that differ in the values of one quantity alone as one."""
        alternatives: list[Alternative] = []
        alone: dict[int, Numbers] = {}
        for one in itertools.chain.from_iterable(found):
            match list(one.items()):
                case [(number, Numbers() as state)]:
                    alone[number] = alone[number].join(state) if number in alone else state
                case _:
                    alternatives.append(one)
        alternatives += [{number: state} for number, state in alone.items()]
        if len(alternatives) > MOST_ALTERNATIVES:
            raise TooWide
        return alternatives

    def _pairs(self, alternative: Alternative) -> Iterator[tuple[int, int]]:
        """Quantities that may have to do with each other, both ways round."""
        if len(alternative) < 2:
            return
        by_family: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number in alternative:
            for family in self.quantities[number].families:
                by_family[family].append(number)
        for related in by_family.values():
            if len(related) <= MOST_RELATED:
                yield from itertools.permutations(related, 2)

    def _filter_implies(self, event: str, one: Condition | None, other: Condition | None) -> bool:
        if other is None or one == other:
            return True
        if len(self._filters.get(event, ())) > MOST_FILTERS:
            return False
        known = self._implied.get((event, one, other))
        if known is None:
            parts = [(other, False)] if one is None else [(one, True), (other, False)]
            known = self._implied[event, one, other] = self._is_impossible(parts, event, 0)
        return known

    def _plain(self, leaf: Leaf) -> Leaf:
        """``leaf`` with its filter in one spelling."""
        match leaf:
            case Compare(Measure(event=event, where=where) as measure) if where is not None:
                filters = self._filters.setdefault(event, {})
                plain = filters.setdefault(where, _sorted(where))
                return replace(leaf, subject=replace(measure, where=plain))
            case _:
                return leaf


def _product(found: Iterable[list[Alternative]]) -> list[Alternative]:
    """Every way to take one alternative of each list, without the impossible ones."""
    settled: Alternative = {}
    open_ = list(found)
    while open_:
        # What is settled rules out alternatives, and a list with one left is settled too.
        left = [[one for one in some if _is_possible(settled, one)] for some in open_]
        open_ = [some for some in left if len(some) != 1]
        if not all(open_):
            return []
        if len(open_) == len(left):
            break
        for (only,) in (some for some in left if len(some) == 1):
            both = _met(settled, only)
            if both is None:
                return []
            settled = both
    taken = [settled]
    for alternatives in sorted(open_, key=len):
        pairs = itertools.product(taken, alternatives)
        taken = [both for one, other in pairs if (both := _met(one, other)) is not None]
        if len(taken) > MOST_ALTERNATIVES:
            raise TooWide
    return taken


def _is_possible(one: Alternative, other: Alternative) -> bool:
    return not any(
        number in one and one[number].is_apart(state)  # type: ignore[arg-type]
        for number, state in other.items()
    )


def _met(one: Alternative, other: Alternative) -> Alternative | None:
    both = dict(one)
    for number, state in other.items():
        if number in both:
            state = both[number].meet(state)  # type: ignore[arg-type]  # one quantity, one line
            if state.is_empty:
                return None
        both[number] = state
    return both


def _refers(condition: Condition) -> bool:
    match condition:
        case AllOf(parts) | AnyOf(parts):
            return any(map(_refers, parts))
        case Not(part):
            return _refers(part)
        case _:
            return isinstance(condition, InSegment)


def is_transparent(segment: Segment | None) -> bool:
    """Is membership what the condition says now, not what it said at some earlier time?"""
    return segment is not None and segment.stay is None and segment.refresh == "continuous"


def _sorted(condition: Condition) -> Condition:
    """The same, its parts in one order and there once."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            kept = {repr(part): part for part in map(_sorted, parts)}
            ordered = tuple(kept[text] for text in sorted(kept))
            return ordered[0] if len(ordered) == 1 else type(condition)(ordered)
        case Not(part):
            return Not(_sorted(part))
        case _:
            return condition
