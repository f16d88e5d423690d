"""Three-valued logic in two-valued words.

In SQL a comparison with NULL is neither TRUE nor FALSE, and only what is TRUE is taken. The model
knows true and false alone. So everything SQL says has two conditions here: when it is TRUE and
when it is FALSE; where neither holds it is NULL, and NOT exchanges the two.
"""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, TypeAlias

from sqlglot import exp

from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Function,
    Measure,
    Not,
    Operator,
    Property,
    Subject,
    Value,
)

ONE: Final = Decimal(1)
ZERO: Final = Decimal(0)

NEVER_NULL: Final[tuple[Function, ...]] = ("count", "distinct", "days_active")

COMPLEMENTS: Final[Mapping[Operator, Operator]] = {
    "eq": "ne", "ne": "eq", "gt": "lte", "lte": "gt", "lt": "gte", "gte": "lt", "in": "not_in",
    "not_in": "in", "contains": "not_contains", "not_contains": "contains",
}  # fmt: skip
"""Of a value that is there, one of the two holds."""

_HOLD_OF_MISSING: Final = ("ne", "not_in", "not_contains")


@dataclass(frozen=True, slots=True)
class Verdict:
    """When a SQL condition is TRUE and when it is FALSE. Of NULL, neither holds."""

    true: Condition
    false: Condition

    def __invert__(self) -> Verdict:
        return Verdict(self.false, self.true)


Judge: TypeAlias = Callable[[exp.Expr], Verdict | None]


def judged(node: exp.Expr, leaf: Judge) -> Verdict | None:
    """The verdict on ``node``, whose comparisons ``leaf`` judges; None when that refused all."""
    match node:
        case exp.Paren():
            return judged(node.this, leaf)
        case exp.Not():
            inner = judged(node.this, leaf)
            return ~inner if inner is not None else None
        case exp.And():
            return conjunction([judged(part, leaf) for part in chain(node, exp.And)])
        case exp.Or():
            parts = list(chain(node, exp.Or))
            return _or_missing(parts, leaf) or disjunction([judged(p, leaf) for p in parts])
        case exp.Is() if isinstance(node.expression, exp.Boolean):
            inner = judged(node.this, leaf)
            if inner is None:
                return None
            held = inner.true if node.expression.this else inner.false
            known = Verdict(held, Not(held))
            return ~known if node.args.get("negate") else known
        case _:
            return leaf(node)


def chain(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    """``a AND b AND c`` as its parts; parentheses keep theirs to themselves."""
    parts: list[exp.Expr] = []
    while type(node) is kind:
        parts.append(node.args["expression"])
        node = node.this
    return [node, *reversed(parts)]


def conjunction(parts: list[Verdict | None]) -> Verdict | None:
    """TRUE when all are, FALSE when one is; without the parts that were refused."""
    kept = [part for part in parts if part is not None]
    if len(kept) < 2:
        return kept[0] if kept else None
    return Verdict(
        AllOf(tuple(part.true for part in kept)), AnyOf(tuple(part.false for part in kept))
    )


def disjunction(parts: list[Verdict | None]) -> Verdict | None:
    """TRUE when one is, FALSE when all are."""
    opposite = conjunction([~part if part is not None else None for part in parts])
    return ~opposite if opposite is not None else None


def compared(subject: Subject, operator: Operator, value: Value) -> Verdict:
    """``subject operator value``, where ``operator`` means what it does in SQL."""
    return Verdict(_true(subject, operator, value), _false(subject, operator, value))


def distinct_from(subject: Subject, value: Value) -> Verdict:
    """``IS DISTINCT FROM``: never NULL. A missing subject is distinct from every constant."""
    equal = _true(subject, "eq", value)
    if isinstance(equal, Compare):
        return Verdict(Compare(subject, "ne", value), equal)
    return Verdict(Not(equal), equal)


def existence(subject: Subject) -> Verdict:
    """``IS NOT NULL``. A sum is NULL when no row has the field; the model's is 0 then."""
    if isinstance(subject, Measure) and subject.function == "sum":
        rows = rows_having(subject)
        return Verdict(Compare(rows, "gte", ONE), Compare(rows, "eq", ZERO))
    return Verdict(Compare(subject, "exists", True), Compare(subject, "exists", False))


def rows_having(measure: Measure) -> Measure:
    """The count of rows in which the field of ``measure`` is there."""
    assert measure.field is not None
    has_field = Compare(Property(measure.field), "exists", True)
    where = and_also(measure.where, has_field)
    return replace(measure, function="count", field=None, where=where)


def and_also(condition: Condition | None, more: Condition) -> Condition:
    """``condition`` and ``more``, without nesting."""
    match condition:
        case None:
            return more
        case AllOf(parts):
            return AllOf((*parts, more))
        case _:
            return AllOf((condition, more))


def holds_of_nobody(condition: Condition) -> bool:
    """Does ``condition``, of measures alone, hold when there is no event?"""
    match condition:
        case AllOf(parts):
            return all(map(holds_of_nobody, parts))
        case AnyOf(parts):
            return any(map(holds_of_nobody, parts))
        case Not(part):
            return not holds_of_nobody(part)
        case Compare(subject, operator, value):
            return _holds_of_nothing(subject, operator, value)
        case _:
            return True


def leaves(condition: Condition) -> Iterator[Compare]:
    """The comparisons of ``condition``; those inside of filters are not its own."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case Compare():
            yield condition


def _true(subject: Subject, operator: Operator, value: Value) -> Condition:
    held = Compare(subject, operator, value)
    is_null_false = not _holds_of_nothing(subject, operator, value)
    if is_null_false or (isinstance(subject, Measure) and subject.function in NEVER_NULL):
        return held
    return AllOf((existence(subject).true, held))


def _false(subject: Subject, operator: Operator, value: Value) -> Condition:
    opposite = COMPLEMENTS.get(operator)
    if operator in ("after", "before") and not isinstance(value, Ago):
        opposite = "lte" if operator == "after" else "gte"
    if opposite is not None:
        return _true(subject, opposite, value)
    if operator == "between" and isinstance(value, tuple):
        low, high = value
        return AnyOf((_true(subject, "lt", low), _true(subject, "gt", high)))
    return AllOf((existence(subject).true, Not(Compare(subject, operator, value))))


_ORDERED: Final[Mapping[str, Callable[[Decimal, Decimal], bool]]] = {
    "eq": python.eq, "ne": python.ne, "gt": python.gt, "gte": python.ge, "lt": python.lt,
    "lte": python.le,
}  # fmt: skip


def _holds_of_nothing(subject: Subject, operator: Operator, value: Value) -> bool:
    """Does the model's comparison hold without a value, or of the 0 that stands for none?"""
    if not isinstance(subject, Measure) or subject.function not in (*NEVER_NULL, "sum"):
        return operator in _HOLD_OF_MISSING or (operator == "exists" and value is False)
    if operator == "exists":
        return value is True
    constants = value if isinstance(value, tuple) else (value,)
    numbers = [constant for constant in constants if isinstance(constant, Decimal)]
    match operator:
        case "in":
            return ZERO in numbers
        case "not_in":
            return ZERO not in numbers
        case "between" if len(numbers) == 2:
            return numbers[0] <= ZERO <= numbers[1]
        case _ if operator in _ORDERED and numbers:
            return _ORDERED[operator](ZERO, numbers[0])
        case _:
            return False


def _or_missing(parts: list[exp.Expr], leaf: Judge) -> Verdict | None:
    """``x IS NULL OR x NOT IN (..)`` is the model's ``not_in``; so with ``NOT LIKE '%..%'``."""
    if len(parts) != 2 or not isinstance(parts[0], exp.Is):
        return None
    if not isinstance(parts[0].expression, exp.Null) or not _is_negation(parts[1]):
        return None
    missing, negation = leaf(parts[0]), judged(parts[1], leaf)
    match missing, negation:
        case (
            Verdict(true=Compare(absent, "exists", False)),
            Verdict(true=AllOf((_, Compare(subject, "not_in" | "not_contains") as held))),
        ) if absent == subject:
            return Verdict(held, Compare(subject, COMPLEMENTS[held.operator], held.value))
    return disjunction([missing, negation])


def _is_negation(node: exp.Expr) -> bool:
    return isinstance(node, exp.Not) or bool(node.args.get("negate"))
