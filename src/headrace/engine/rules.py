"""Rules: which ones a change of inputs may change, and what they say now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.engine.columns import on_line
from headrace.engine.program import NEVER, Compiled, Gate, Shape, expand
from headrace.engine.sample import sampled
from headrace.engine.state import Bools, Ints
from headrace.engine.traits import TraitView
from headrace.plan.model import MeasureTest, SampleTest, Tree

FEW = 64
"""Up to so many cuts at once are compared; of more, each value is first ranked among them."""

Bytes: TypeAlias = npt.NDArray[np.uint8]

CACHED = 1_000
"""Predicates whose bits a full evaluation keeps: 20 MB for a group of 20,000 users."""


def crossings(code: Compiled, old: Ints, new: Ints) -> tuple[Ints, Ints, Ints]:
    """(user, first, last): ranges of cuts that measures stepped over, numbered through the plan.

    ``old`` and ``new`` are tables [measure, user].
    """
    users, first, last = [], [], []
    for measure, cuts in enumerate(code.cuts):
        moved = np.flatnonzero(old[measure] != new[measure])
        if not len(moved) or not len(cuts):
            continue
        before = np.searchsorted(cuts, old[measure, moved], side="right")
        after = np.searchsorted(cuts, new[measure, moved], side="right")
        crossed = np.flatnonzero(before != after)
        start = int(code.cut_start[measure])
        users.append(moved[crossed])
        first.append(start + np.minimum(before[crossed], after[crossed]))
        last.append(start + np.maximum(before[crossed], after[crossed]))
    return _joined(users), _joined(first), _joined(last)


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def by_cuts(code: Compiled, users: Ints, first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """(user, rule) pairs that crossings may change, with repeats."""
    starts, rules = code.rules_by_cut
    owner, place = expand(starts, first, last)
    return users[owner], rules[place]


def by_predicates(code: Compiled, users: Ints, predicates: Ints) -> tuple[Ints, Ints]:
    """(user, rule) pairs that changed answers of predicates may change, with repeats."""
    starts, rules = code.rules_by_predicate
    owner, place = expand(starts, predicates, predicates + 1)
    return users[owner], rules[place]


def unique_pairs(code: Compiled, users: Ints, rules: Ints) -> tuple[Ints, Ints]:
    """Each pair once, by user and rule."""
    count = max(len(code.leaves), 1)
    pairs = np.sort(users * count + rules)  # np.unique hashes, which is slower here
    if len(pairs):
        pairs = pairs[np.concatenate([[True], pairs[1:] != pairs[:-1]])]
    return pairs // count, pairs % count


class Group:
    """The users of a group as rules see them: ids, and measures and traits at one instant."""

    def __init__(
        self, code: Compiled, names: pa.Array, table: Ints, traits: Callable[[], TraitView]
    ) -> None:
        self._code, self._names, self._table, self._traits = code, names, table, traits
        self._cache: dict[int, Bools] = {}

    def on_pairs(self, users: Ints, rules: Ints) -> Bools:
        """One bit per pair: does the rule hold for the user?"""
        code = self._code
        out = np.empty(len(users), np.bool_)
        shapes = code.shape_of[rules]
        for number in np.flatnonzero(np.bincount(shapes)).tolist():
            rows = np.flatnonzero(shapes == number)
            alike = code.shapes[number]
            predicates = alike.predicates[code.row_of[rules[rows]]]
            out[rows] = self._pairs(alike.shape, users[rows], predicates)
        return out

    def _pairs(self, shape: Shape, users: Ints, predicates: Ints) -> Bools:
        if isinstance(shape, Gate):
            return _gate(
                shape, len(users), (self._pairs(p, users, predicates) for p in shape.parts)
            )
        places = predicates[:, shape.place]
        if shape.kind == "span":
            code = self._code
            values = self._table[code.measure_of[places], users]
            inside: Bools = (values >= code.low[places]) & (values < code.high[places])
            return inside
        out = np.empty(len(users), np.bool_)
        for place in np.flatnonzero(np.bincount(places)).tolist():
            rows = np.flatnonzero(places == place)
            out[rows] = self._leaf(place, users[rows])
        return out

    def _leaf(self, place: int, users: Ints) -> Bools:
        predicate = self._code.plan.predicates[place]
        if isinstance(predicate, MeasureTest):
            return on_line(self._table[predicate.measure, users], predicate.cuts)
        return self._cached(place)[users]

    def packed(self, predicates: Ints, users: slice) -> Bytes:
        """The answers of ``predicates`` for some of the users, eight a byte, a row each."""
        table = np.empty((len(predicates), -(-(users.stop - users.start) // 8)), np.uint8)
        code = self._code
        measures = code.measure_of[predicates]
        for row in np.flatnonzero(measures < 0).tolist():
            table[row] = np.packbits(self._cached(int(predicates[row]))[users])
        order = np.argsort(measures, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(measures[order])) + 1):
            if len(rows) and measures[rows[0]] >= 0:
                values = self._table[measures[rows[0]], users]
                table[rows] = _on_line(code, values, predicates[rows])
        return table

    def holds(self, tree: Tree) -> Bools:
        """One bit per user of the group, for any tree over the plan's predicates."""
        if isinstance(tree, int):
            return self._cached(tree)
        return _gate(tree, self._table.shape[1], (self.holds(part) for part in tree.parts))

    def _cached(self, place: int) -> Bools:
        known = self._cache.get(place)
        if known is None:
            known = self._answers(place)
            if len(self._cache) >= CACHED:
                self._cache.clear()
            self._cache[place] = known
        return known

    def _answers(self, place: int) -> Bools:
        match self._code.plan.predicates[place]:
            case MeasureTest(measure, cuts):
                return on_line(self._table[measure], cuts)
            case SampleTest() as test:
                return sampled(self._names, test)
            case _:
                return self._traits().holds(place)


def _on_line(code: Compiled, values: Ints, predicates: Ints) -> Bytes:
    """Where values are between the two cuts of each predicate (or its more), packed."""
    low, high = code.low[predicates], code.high[predicates]
    cuts = np.unique(np.concatenate([low, high[high != NEVER]]))
    reached = _reached(values, cuts)
    bits: Bytes = reached[np.searchsorted(cuts, low)]
    ended = np.flatnonzero(high != NEVER)
    bits[ended] ^= reached[np.searchsorted(cuts, high[ended])]
    for row in np.flatnonzero(code.is_ragged[predicates]).tolist():
        predicate = code.plan.predicates[int(predicates[row])]
        assert isinstance(predicate, MeasureTest)
        bits[row] = np.packbits(on_line(values, predicate.cuts))
    return bits


def _reached(values: Ints, cuts: Ints) -> Bytes:
    """Where values are at or above each cut, eight a byte, a row each."""
    rows = np.empty((len(cuts), -(-len(values) // 8)), np.uint8)
    if len(cuts) <= FEW:
        for row, cut in enumerate(cuts.tolist()):
            rows[row] = np.packbits(values >= cut)
        return rows
    narrow = np.min_scalar_type(len(cuts))
    ranks = np.searchsorted(cuts, values, side="right").astype(narrow)
    every = np.arange(len(cuts), dtype=narrow)[:, None]
    for start in range(0, len(cuts), FEW):
        rows[start : start + FEW] = np.packbits(ranks > every[start : start + FEW], axis=1)
    return rows


def _gate(gate: Gate | Tree, size: int, parts: Iterator[Bools]) -> Bools:
    assert not isinstance(gate, int)
    match gate.kind:
        case "not":
            return ~next(parts)
        case "all":
            result = next(parts, None)
            result = np.ones(size, np.bool_) if result is None else result
            for part in parts:
                result = result & part
            return result
        case _:
            result = next(parts, None)
            result = np.zeros(size, np.bool_) if result is None else result
            for part in parts:
                result = result | part
            return result
