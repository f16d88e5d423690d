"""Traits: the latest value of each, and the predicates on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from headrace.engine.columns import Column, Numbers, column, on_line
from headrace.engine.program import Compiled
from headrace.engine.state import Bools, Ints
from headrace.engine.values import test_of
from headrace.plan.lines import MISSING
from headrace.plan.model import Line, MeasureTest, TraitTest, ValueTest
from headrace.rules.catalog import FieldType

NEVER = np.iinfo(np.int64).max
TYPES: Mapping[Line, FieldType] = {
    "integer": "integer",
    "decimal": "decimal",
    "instant": "timestamp",
    "age": "timestamp",
}


def latest(stored: str | None, facts: Iterable[tuple[int, Mapping[str, Any]]]) -> str | None:
    """The state text after further facts ``(ts, traits)``, in any order.

    The latest ``ts`` wins, on equal ``ts`` the greater canonical JSON. A null removes a trait,
    and stays on record so that an older value arriving later does not return it.
    """
    known: dict[str, dict[str, Any]] = orjson.loads(stored) if stored else {}
    for ts, traits in facts:
        for name, value in traits.items():
            held = known.get(name)
            if held is None or (ts, _text(value)) > (held["ts"], _text(held["v"])):
                known[name] = {"ts": ts, "v": value}
    return orjson.dumps(known, option=orjson.OPT_SORT_KEYS).decode() if known else None


def _text(value: Any) -> str:
    # As text: characters, not bytes, decide (they agree for UTF-8).
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def plain(stored: str | None) -> str:
    """The traits that a message shows, as a JSON object: present values only."""
    known = orjson.loads(stored) if stored else {}
    shown = {name: held["v"] for name, held in known.items() if held["v"] is not None}
    return orjson.dumps(shown, option=orjson.OPT_SORT_KEYS).decode()


class TraitView:
    """The traits of some users at an instant (one, or one each), read as predicates need them."""

    def __init__(self, code: Compiled, texts: Sequence[str | None], at: int | Ints) -> None:
        self._code, self._at = code, at
        self._texts = texts
        self._size = len(texts)
        self._known: list[dict[str, Any]] | None = None
        self._columns: dict[tuple[str, FieldType], Column] = {}
        self._truth: dict[int, Bools] = {}

    def holds(self, predicate: int) -> Bools:
        """One bit per user for the predicate at a place of the plan."""
        known = self._truth.get(predicate)
        if known is None:
            known = self._truth[predicate] = self._test(predicate)
        return known

    def _test(self, place: int) -> Bools:
        match self._code.plan.predicates[place]:
            case TraitTest(trait, line, cuts):
                values = self.numbers(trait, line)
                if line == "age":
                    values = np.where(values == MISSING, MISSING, self._at - values)
                return on_line(values, cuts)
            case ValueTest(trait, type_, operator, value):
                coded = self._column(trait, type_)
                assert not isinstance(coded, Numbers)
                test = test_of(type_, operator, value)
                answers = [False, *(test(one) for one in coded.distinct[1:])]
                return np.array(answers, np.bool_)[coded.codes]
            case MeasureTest():
                raise AssertionError("a measure is no trait")

    def numbers(self, trait: str, line: Line) -> Ints:
        """The values of a trait on the line of its type; instants also for ages."""
        read = self._column(trait, TYPES[line])
        assert isinstance(read, Numbers)
        return read.values

    def _column(self, trait: str, type_: FieldType) -> Column:
        read = self._columns.get((trait, type_))
        if read is None:
            values = [held["v"] if (held := one.get(trait)) else None for one in self._documents()]
            read = self._columns[trait, type_] = column(values, type_)
        return read

    def _documents(self) -> list[dict[str, Any]]:
        if self._known is None:
            self._known = [orjson.loads(text) if text else {} for text in self._texts]
        return self._known


def due_of(code: Compiled, view: TraitView, now: int, size: int) -> Ints:
    """The next instant after ``now`` at which a relative trait predicate may change, per user."""
    due = np.full(size, NEVER, np.int64)
    for place in relative(code):
        predicate = code.plan.predicates[place]
        assert isinstance(predicate, TraitTest)
        values = view.numbers(predicate.trait, predicate.line)
        for cut in predicate.cuts:
            reached = np.where(values == MISSING, NEVER, values + max(cut, -(1 << 61)))
            due = np.minimum(due, np.where(reached > now, reached, NEVER))
    return due


def relative(code: Compiled) -> list[int]:
    """Places of predicates that time alone changes."""
    return [
        place
        for place in code.trait_predicates
        if isinstance(one := code.plan.predicates[place], TraitTest) and one.line == "age"
    ]
