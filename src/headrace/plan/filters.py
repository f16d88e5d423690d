"""Conditions in one spelling, so that equal ones are found equal."""

from __future__ import annotations

from typing import assert_never

from headrace.errors import InternalError
from headrace.plan.lines import NEGATED
from headrace.plan.text import canonical, filter_out
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    InList,
    InSegment,
    Not,
    Property,
    Sample,
    Sequence,
    Value,
)


def normal(condition: Condition) -> Condition:
    """The same filter in its one spelling: flat, sorted, without repeats or double negation."""
    match condition:
        case Compare(_, operator, value):
            if operator in NEGATED:
                return Not(Compare(condition.subject, NEGATED[operator], value))
            if operator == "exists" and value is False:
                return Not(Compare(condition.subject, "exists", True))
            return condition
        case Not(part):
            inner = normal(part)
            return inner.part if isinstance(inner, Not) else Not(inner)
        case AllOf(parts) | AnyOf(parts):
            kind = type(condition)
            flat: dict[str, Condition] = {}
            for part in map(normal, parts):
                for one in part.parts if isinstance(part, kind) else (part,):
                    flat[canonical(filter_out(one))] = one
            ordered = tuple(flat[key] for key in sorted(flat))
            return ordered[0] if len(ordered) == 1 else kind(ordered)
        case InSegment() | InList() | Sample() | Sequence():
            raise InternalError("a filter looks at properties only")
        case _:
            assert_never(condition)


def properties_of(condition: Condition) -> set[str]:
    """The properties that a filter looks at."""
    match condition:
        case Compare(Property(name), _, _):
            return {name}
        case AllOf(parts) | AnyOf(parts):
            return set[str]().union(*(properties_of(part) for part in parts))
        case Not(part):
            return properties_of(part)
        case _:
            raise InternalError("a filter looks at properties only")


def is_mixed(value: Value) -> bool:
    """Does a list hold relative and fixed instants?"""
    if not isinstance(value, tuple):
        return False
    return len({isinstance(part, Ago) for part in value}) == 2


def split(compare: Compare) -> Condition:
    """Relative and fixed instants in one list: apart, since each kind has a line of its own."""
    assert isinstance(compare.value, tuple)
    subject, parts = compare.subject, compare.value
    match compare.operator:
        case "between":
            low, high = parts
            return AllOf((Compare(subject, "gte", low), Compare(subject, "lte", high)))
        case "in":
            return AnyOf(tuple(Compare(subject, "eq", part) for part in parts))
        case "not_in":
            return AllOf(tuple(Compare(subject, "ne", part) for part in parts))
        case _:
            raise InternalError(f"{compare.operator!r} takes no list")
