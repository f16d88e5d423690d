"""Traits: the latest value of each, and the predicates on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from headrace.engine.columns import Column, Numbers, column, documents, on_line
from headrace.engine.group import TRAITS, Facts
from headrace.engine.program import NEVER, Compiled
from headrace.engine.state import Bools, Ints
from headrace.engine.values import test_of
from headrace.plan.lines import MISSING
from headrace.plan.model import Line, MeasureTest, SampleTest, TraitTest, ValueTest
from headrace.rules.catalog import FieldType

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
            case MeasureTest() | SampleTest():
                raise AssertionError("no trait")

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


class Traits:
    """The traits of a group's users before and after a batch, read no more than needed."""

    def __init__(
        self, code: Compiled, old: list[str | None], at: Ints, facts: Facts, now: int | Ints
    ) -> None:
        self._code, self._old, self._at, self._now = code, old, at, now
        self.texts = list(old)
        by_user: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        rows = np.flatnonzero(facts.kinds == TRAITS)
        read = documents(facts.properties[rows].tolist())
        for user, ts, traits in zip(
            facts.owners[rows].tolist(), facts.ts[rows].tolist(), read, strict=True
        ):
            by_user.setdefault(user, []).append((ts, traits))
        for user, of in by_user.items():
            self.texts[user] = latest(old[user], of)
        self.told = np.array(sorted(by_user), np.int64)
        """Users with a trait fact."""

    @cached_property
    def now(self) -> TraitView:
        """Everyone's traits now."""
        return TraitView(self._code, self.texts, self._now)

    def changed(self) -> tuple[Ints, Ints]:
        """(user, predicate) pairs whose answer is another than it was, with repeats."""
        code = self._code
        told, ageing = self.told, relative(code)
        users, places = [], []
        everyone = np.arange(len(self.texts))
        for those, predicates in ((told, code.trait_predicates), (everyone, ageing)):
            if not len(those) or not predicates:
                continue
            picked = those.tolist()
            old = TraitView(code, [self._old[user] for user in picked], self._at[those])
            new = TraitView(code, [self.texts[user] for user in picked], self._now)
            for place in predicates:
                moved = those[old.holds(place) != new.holds(place)]
                users.append(moved)
                places.append(np.full(len(moved), place))
        if not users:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate(users), np.concatenate(places)

    def shown(self, known: Bools) -> dict[int, str]:
        """Per user whose message shows them the traits as JSON text: changed ones, and those
        readers do not know yet."""
        out = dict.fromkeys(np.flatnonzero(~known).tolist(), "{}")
        for user in [*out, *self.told.tolist()]:
            text = plain(self.texts[user])
            if not known[user] or text != plain(self._old[user]):
                out[user] = text
        return out

    def due(self) -> Ints:
        """Per user the next instant at which a relative predicate may change."""
        size = len(self.texts)
        if not relative(self._code):
            return np.full(size, NEVER, np.int64)
        return due_of(self._code, self.now, self._now, size)


def due_of(code: Compiled, view: TraitView, now: int | Ints, size: int) -> Ints:
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
