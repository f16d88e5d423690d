"""Strings, booleans and lists held against constants: one value at a time, on distinct values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import re2

from headrace.errors import InternalError
from headrace.plan.lines import NEGATED
from headrace.rules.catalog import FieldType
from headrace.rules.model import Operator, Value

Test: TypeAlias = Callable[[Any], bool]


def test_of(type_: FieldType, operator: Operator, value: Value) -> Test:
    """Whether a present value passes; for missing ones see `passes_missing`."""
    if operator in NEGATED:
        positive = test_of(type_, NEGATED[operator], value)
        return lambda one: not positive(one)
    if operator == "exists":
        wanted = value is not False
        return lambda one: wanted
    if type_ == "array<string>":
        return _of_list(operator, value)
    constants = _constants(type_, value)
    return _of_scalar(operator, constants)


def passes_missing(operator: Operator, value: Value) -> bool:
    """What a missing value answers."""
    return operator in NEGATED or (operator == "exists" and value is False)


def _constants(type_: FieldType, value: Value) -> list[Any]:
    wanted = bool if type_ == "boolean" else str
    parts = value if isinstance(value, tuple) else (value,)
    if any(type(part) is not wanted for part in parts):
        raise InternalError(f"{value!r} is no {type_}")
    return list(parts)


def _of_list(operator: Operator, value: Value) -> Test:
    constants = frozenset(_constants("string", value))
    match operator:
        case "contains":
            (wanted,) = constants
            return lambda one: wanted in one
        case "contains_any":
            return lambda one: not constants.isdisjoint(one)
        case "contains_all":
            return lambda one: constants.issubset(one)
        case _:
            raise InternalError(f"{operator!r} does not compare lists")


def _of_scalar(operator: Operator, constants: list[Any]) -> Test:
    first = constants[0] if constants else None
    match operator:
        case "eq":
            return lambda one: bool(one == first)
        case "in":
            several = frozenset(constants)
            return lambda one: one in several
        case "gt":
            return lambda one: bool(one > first)
        case "gte":
            return lambda one: bool(one >= first)
        case "lt":
            return lambda one: bool(one < first)
        case "lte":
            return lambda one: bool(one <= first)
        case "between":
            low, high = constants
            return lambda one: bool(low <= one <= high)
        case "contains":
            return lambda one: first in one
        case "contains_any":
            return lambda one: any(part in one for part in constants)
        case "contains_all":
            return lambda one: all(part in one for part in constants)
        case "starts_with":
            return lambda one: bool(one.startswith(first))
        case "ends_with":
            return lambda one: bool(one.endswith(first))
        case "matches":
            options = re2.Options()
            options.log_errors = False  # a pattern that does not compile is a problem elsewhere
            search = re2.compile(first, options).search
            return lambda one: search(one) is not None
        case _:
            raise InternalError(f"{operator!r} does not compare strings")
