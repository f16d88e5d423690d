"""Leaves of rules -> the quantity they look at, and the values of it for which they hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, TypeAlias, assert_never

from headrace.clock import parse_instant
from headrace.rules.catalog import Catalog, FieldType
from headrace.rules.meaning.numbers import (
    ANY,
    FAR,
    MISSING,
    PRESENT,
    ZERO,
    Numbers,
    Range,
    numbers,
)
from headrace.rules.meaning.texts import EXISTS, Said, Texts
from headrace.rules.meaning.windows import most_days
from headrace.rules.model import (
    COUNTING,
    MOST_DISTINCT,
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    InList,
    InSegment,
    Leaf,
    Measure,
    Operator,
    Property,
    Sample,
    Scalar,
    Sequence,
    Trait,
    Value,
)
from headrace.rules.reference_facts import ten_thousandths

Line = Literal[
    "integer", "decimal", "average", "instant", "relative", "truth", "boolean", "text", "texts"
]
"""Where values lie: decimals in ten-thousandths, averages in halves of these (odd: between two),
instants in ms, ``relative`` ones in ms from now."""

UNITS: Final[Mapping[Line, int]] = {"integer": 20_000, "decimal": 2, "average": 1}
State: TypeAlias = Numbers | Texts


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a leaf looks at: one value per user, or per event of type ``event`` in a filter.

    Relative and fixed instants of one field are two quantities: only now knows how they lie.
    """

    of: Measure | Trait | Property | InSegment | InList | Sequence | Sample
    line: Line
    event: str = ""

    @property
    def families(self) -> tuple[tuple[str, ...], ...]:
        """Names of what it depends on: without a common one, two quantities are unrelated."""
        match self.of:
            case Measure(event=event):
                return (("event", event),)
            case Sequence(steps):
                events = {step.event for step in steps if not step.forbidden}
                return tuple(("event", event) for event in sorted(events))
            case Trait(name):
                return (("trait", name),)
            case Property(name):
                return (("property", self.event, name),)
            case Sample(_, salt):
                return (("sample", salt),)
            case InSegment(name):
                return (("segment", name),)
            case InList(name):
                return (("list", name),)
            case _:
                assert_never(self.of)

    @property
    def domain(self) -> State:
        """Every value it may have."""
        match self.line:
            case "text" | "texts":
                return Texts(is_list=self.line == "texts")
            case "truth":
                return numbers([(0, 1)])
            case "boolean":
                return numbers([(0, 1)], missing=True)
        match self.of:
            case Measure("days_active", window=window, zone=zone):
                most = most_days(window, zone)
                return numbers([(0, FAR if most is None else most)])
            case Measure("distinct"):
                return numbers([(0, MOST_DISTINCT)])
            case Measure("count"):
                return numbers([(0, FAR)])
            case Measure("sum"):
                return PRESENT
            case Sample():
                return numbers([(0, 9_999)])
            case _:
                return ANY

    @property
    def none(self) -> State:
        """The value when there is nothing to measure."""
        if self.line in ("text", "texts"):
            return Texts(no=frozenset([EXISTS]), is_list=self.line == "texts")
        is_counted = isinstance(self.of, Measure) and self.of.function in _ZERO_OF_NOTHING
        return ZERO if is_counted or self.line == "truth" else MISSING

    @property
    def some(self) -> State:
        """The values when there is something to measure; for a sum, those that prove it."""
        if self.line in ("text", "texts"):
            return Texts(yes=frozenset([EXISTS]), is_list=self.line == "texts")
        assert isinstance(self.none, Numbers)
        return ANY.minus(self.none)


_ZERO_OF_NOTHING: Final = (*COUNTING, "sum", "distinct")


@dataclass(frozen=True, slots=True)
class Reading:
    """A leaf as sets of values: those it holds for, and all others."""

    quantity: Quantity
    holds: State
    fails: State


def read_leaf(leaf: Leaf, catalog: Catalog, event: str = "") -> Reading | Condition:
    """What ``leaf`` says, in a filter of ``event`` if that is given; or the same in other words."""
    match leaf:
        case InSegment() | InList() | Sequence():
            return _split(Quantity(leaf, "truth"), numbers([(1, 1)]))
        case Sample(_, salt):
            below = numbers([(0, leaf.below - 1)])
            return _split(Quantity(Sample(Decimal(100), salt), "integer"), below)
        case Compare():
            return _compared(leaf, catalog, event)
        case _:
            assert_never(leaf)


def _split(quantity: Quantity, holds: Numbers) -> Reading:
    domain = quantity.domain
    assert isinstance(domain, Numbers)
    return Reading(quantity, domain.meet(holds), domain.minus(holds))


def _compared(leaf: Compare, catalog: Catalog, event: str) -> Reading | Condition:
    subject, operator, value = leaf.subject, leaf.operator, leaf.value
    kind = _type(leaf, catalog, event)
    if kind == "timestamp" and isinstance(value, tuple) and len({type(v) for v in value}) > 1:
        return _apart(leaf, value)
    quantity = Quantity(subject, _line(leaf, kind), event if isinstance(subject, Property) else "")
    if quantity.line in ("text", "texts"):
        if operator in ("contains_any", "contains_all"):
            assert isinstance(value, tuple)
            parts = tuple(Compare(subject, "contains", one) for one in value)
            return AnyOf(parts) if operator == "contains_any" else AllOf(parts)
        if operator == "between":
            assert isinstance(value, tuple)
            return _apart(leaf, value)
        return _text(quantity, operator, value)
    positive, negated = _positive(operator, value)
    found = _split(quantity, _numbers(positive, value, quantity.line))
    return Reading(quantity, found.fails, found.holds) if negated else found


def _apart(leaf: Compare, value: tuple[Scalar, ...]) -> Condition:
    """A list's constants, each in a comparison of its own."""
    match leaf.operator:
        case "between":
            low, high = value
            parts = (Compare(leaf.subject, "gte", low), Compare(leaf.subject, "lte", high))
            return AllOf(parts)
        case "in":
            return AnyOf(tuple(Compare(leaf.subject, "eq", one) for one in value))
        case _:
            return AllOf(tuple(Compare(leaf.subject, "ne", one) for one in value))


def _type(leaf: Compare, catalog: Catalog, event: str) -> FieldType:
    match leaf.subject:
        case Trait(name):
            return catalog.traits[name].type
        case Property(name):
            return catalog.events[event].properties[name].type
        case Measure("count" | "days_active" | "distinct"):
            return "integer"
        case Measure(event=of, field=field):
            return catalog.events[of].properties[field or ""].type
        case _:
            assert_never(leaf.subject)


def _line(leaf: Compare, kind: FieldType) -> Line:
    if isinstance(leaf.subject, Measure) and leaf.subject.function == "avg":
        return "average"
    match kind:
        case "timestamp":
            value = leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)
            return "relative" if any(isinstance(one, Ago) for one in value) else "instant"
        case "string":
            return "text"
        case "array<string>":
            return "texts"
        case "integer" | "decimal" | "boolean":
            return kind
        case _:
            assert_never(kind)


def _positive(operator: Operator, value: Value) -> tuple[Operator, bool]:
    """The operator without its negation, and whether there was one."""
    match operator:
        case "ne":
            return "eq", True
        case "not_in":
            return "in", True
        case "not_contains":
            return "contains", True
        case _:
            return operator, operator == "exists" and value is False


def _text(quantity: Quantity, operator: Operator, value: Value) -> Reading:
    positive, negated = _positive(operator, value)
    constants = tuple(str(one) for one in (value if isinstance(value, tuple) else (value,)))
    if positive == "exists":
        said = EXISTS
    elif positive in ("eq", "in"):
        said = Said("in", tuple(sorted(set(constants))))
    else:
        said = Said(positive, constants)
    is_list = quantity.line == "texts"
    yes = Texts(yes=frozenset([said]), is_list=is_list)
    no = Texts(no=frozenset([said]), is_list=is_list)
    return Reading(quantity, no, yes) if negated else Reading(quantity, yes, no)


def _numbers(operator: Operator, value: Value, line: Line) -> Numbers:
    if operator == "exists":
        return PRESENT
    constants = [_point(one, line) for one in (value if isinstance(value, tuple) else (value,))]
    return numbers(range_ for range_ in _RANGES[operator](constants))


def _equal(constants: Iterable[Fraction]) -> list[Range]:
    return [(math.ceil(one), math.floor(one)) for one in constants]


_RANGES: Final[Mapping[str, Callable[[list[Fraction]], list[Range]]]] = {
    "eq": _equal,
    "in": _equal,
    "gt": lambda c: [(math.floor(c[0]) + 1, FAR)],
    "after": lambda c: [(math.floor(c[0]) + 1, FAR)],
    "gte": lambda c: [(math.ceil(c[0]), FAR)],
    "lt": lambda c: [(-FAR, math.ceil(c[0]) - 1)],
    "before": lambda c: [(-FAR, math.ceil(c[0]) - 1)],
    "lte": lambda c: [(-FAR, math.floor(c[0]))],
    "between": lambda c: [(math.ceil(c[0]), math.floor(c[1]))],
}


def _point(constant: Scalar, line: Line) -> Fraction:
    """Where a constant lies on a line."""
    match constant:
        case bool():
            return Fraction(constant)
        case Ago(length):
            return Fraction(-length)
        case str():
            return Fraction(parse_instant(constant))
        case Decimal():
            if line in ("decimal", "average"):
                return Fraction(ten_thousandths(constant) * (2 if line == "average" else 1))
            return Fraction(int(constant)) if line == "instant" else Fraction(constant)
        case _:
            assert_never(constant)
