"""Comparisons of numbers as cuts on one line of integers: {missing} < ... -1 < 0 < 1 < ...

A comparison is true on a few intervals of that line; the ends of those are its cuts, and it
holds where an odd number of cuts is at or below the value. Rules with other spellings of the
same set of numbers (``gt: 5`` and ``gte: 6`` of a count) so become one predicate.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TypeAlias

from headrace.clock import parse_instant
from headrace.errors import InternalError
from headrace.plan.model import Line
from headrace.rules.catalog import FieldType
from headrace.rules.model import Ago, Operator, Scalar, Value

MISSING = -(1 << 63)
PRESENT = MISSING + 1
FAR = 1 << 62
"""Values saturate here, far beyond any constant; sums themselves stay exact."""

NEGATED: dict[Operator, Operator] = {
    "ne": "eq",
    "not_in": "in",
    "not_contains": "contains",
}

_PLACES = Decimal("0.0001")
_EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN)

Interval: TypeAlias = tuple[int, int]

# On the line of ages (now minus the instant) the order is turned round.
_MIRRORED: dict[Operator, Operator] = {
    "gt": "lt", "gte": "lte", "lt": "gt", "lte": "gte", "before": "gt", "after": "lt",
}  # fmt: skip

_UNBOUNDED = FAR + 2
_INTERVALS: dict[Operator, Callable[[list[Decimal]], list[Interval]]] = {
    "eq": lambda c: [(_ceil(c[0]), _floor(c[0]) + 1)],
    "in": lambda c: [(_ceil(one), _floor(one) + 1) for one in c],
    "gt": lambda c: [(_floor(c[0]) + 1, _UNBOUNDED)],
    "gte": lambda c: [(_ceil(c[0]), _UNBOUNDED)],
    "lt": lambda c: [(PRESENT, _ceil(c[0]))],
    "lte": lambda c: [(PRESENT, _floor(c[0]) + 1)],
    "between": lambda c: [(_ceil(c[0]), _floor(c[1]) + 1)],
    "exists": lambda c: [(PRESENT, _UNBOUNDED)],
}


def line_of(type_: FieldType, value: Value) -> Line | None:
    """The line on which a field of ``type_`` meets ``value``; None for types without one."""
    match type_:
        case "integer":
            return "integer"
        case "decimal":
            return "decimal"
        case "timestamp":
            parts = value if isinstance(value, tuple) else (value,)
            return "age" if any(isinstance(part, Ago) for part in parts) else "instant"
        case "string" | "boolean" | "array<string>":
            return None


def cuts_of(operator: Operator, value: Value, line: Line) -> tuple[bool, tuple[int, ...]]:
    """(negated, cuts): the comparison is true where the cuts say so, or where not if negated."""
    negated = operator in NEGATED or (operator == "exists" and value is False)
    positive = NEGATED.get(operator, operator)
    constants = [_point(part, line) for part in _parts(positive, value)]
    if line == "age":
        positive = _MIRRORED.get(positive, positive)
        constants.reverse()
    else:
        positive = {"before": "lt", "after": "gt"}.get(positive, positive)  # type: ignore[assignment]
    if positive not in _INTERVALS:
        raise InternalError(f"{operator!r} does not compare numbers")
    return negated, _cuts(_INTERVALS[positive](constants))


def _parts(operator: Operator, value: Value) -> tuple[Scalar, ...]:
    if operator == "exists":
        return ()
    return value if isinstance(value, tuple) else (value,)


def _point(constant: Scalar, line: Line) -> Decimal:
    match line, constant:
        case "age", Ago(length):
            return Decimal(length)
        case "instant", str():
            return Decimal(parse_instant(constant))
        case "integer" | "instant", Decimal():
            return constant
        case "decimal", Decimal():
            return _rounded(constant)
        case "average", Decimal():
            return _rounded(constant) * 2
        case _:
            raise InternalError(f"{constant!r} is no constant of the {line} line")


def _rounded(constant: Decimal) -> Decimal:
    """In ten-thousandths, half-even."""
    if constant.adjusted() > 300:
        return constant
    if constant.adjusted() < -6:
        return Decimal(0)
    return constant.quantize(_PLACES, context=_EXACT).scaleb(4, context=_EXACT)


def _floor(number: Decimal) -> int:
    clamped = min(max(number, Decimal(-FAR)), Decimal(FAR + 1))
    whole = int(clamped)
    return whole - (clamped < whole)


def _ceil(number: Decimal) -> int:
    clamped = min(max(number, Decimal(-FAR)), Decimal(FAR + 1))
    whole = int(clamped)
    return whole + (clamped > whole)


def _cuts(intervals: list[Interval]) -> tuple[int, ...]:
    """Ends of the union of ``intervals``."""
    ends: list[int] = []
    for low, high in sorted(part for part in intervals if part[0] < part[1]):
        if ends and low <= ends[-1]:
            ends[-1] = max(ends[-1], high)
        else:
            ends += (low, high)
    return tuple(end for end in ends if end <= FAR)
