"""JSON texts -> columns of the fields that somebody uses, and filters evaluated on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias, assert_never

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from headrace.engine.fields import (
    INTEGER_LIMIT,
    SCALE,
    Refusal,
    instant_of,
    ten_thousandths,
)  # fmt: skip
from headrace.engine.sets import mixed
from headrace.engine.state import Bools, Ints
from headrace.engine.values import passes_missing, test_of
from headrace.errors import InternalError
from headrace.plan.lines import MISSING, cuts_of, line_of
from headrace.rules.catalog import FieldType
from headrace.rules.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Not,
    Operator,
    Property,
    Value,
)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Integers on a line (see `plan.lines`), MISSING where there is none."""

    values: Ints

    def take(self, rows: Ints) -> Numbers:
        return Numbers(self.values[rows])

    def present(self) -> Bools:
        there: Bools = self.values != MISSING
        return there


@dataclass(frozen=True, slots=True)
class Codes:
    """Anything else, by place in a list of distinct values; place 0 is missing."""

    codes: npt.NDArray[np.int32]
    distinct: list[Any]

    def take(self, rows: Ints) -> Codes:
        return Codes(self.codes[rows], self.distinct)

    def present(self) -> Bools:
        there: Bools = self.codes != 0
        return there


Column: TypeAlias = Numbers | Codes


def documents(texts: Sequence[str | None]) -> list[dict[str, Any]]:
    """The objects of many JSON texts, read in one go; what is no object reads as empty."""
    try:
        read: list[dict[str, Any]] = orjson.loads("[" + ",".join(t or "{}" for t in texts) + "]")
        if len(read) == len(texts) and set(map(type, read)) <= {dict}:
            return read
    except orjson.JSONDecodeError:
        pass
    return [_document(text) for text in texts]


def _document(text: str | None) -> dict[str, Any]:
    try:
        read = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def columns_of(texts: Sequence[str | None], fields: Mapping[str, FieldType]) -> dict[str, Column]:
    """One column per field; values of another type than the catalog's now are missing."""
    if not fields:
        return {}
    read = documents(texts)
    return {name: column([one.get(name) for one in read], type_) for name, type_ in fields.items()}


def column(values: list[Any], type_: FieldType) -> Column:
    """A column of values as JSON gave them."""
    match type_:
        case "decimal":
            return Numbers(_decimals(values))
        case "integer":
            return Numbers(_integers(values))
        case "timestamp":
            return Numbers(_instants(values))
        case "string":
            return _coded([value if type(value) is str else None for value in values])
        case "boolean":
            return _coded([value if type(value) is bool else None for value in values])
        case "array<string>":
            return _coded([_strings(value) for value in values])
        case _:
            assert_never(type_)


def hashes(column: Column) -> Ints:
    """64 bits for each value; numbers do not share theirs."""
    if isinstance(column, Numbers):
        return mixed(column.values)
    digests = [xxhash.xxh64_intdigest(str(one).encode()) for one in column.distinct]
    found: Ints = np.array(digests, np.uint64).view(np.int64)[column.codes]
    return found


def listed(column: Column) -> list[Any]:
    """The values as JSON keeps them: numbers on their line, lists for lists."""
    if isinstance(column, Numbers):
        numbers: list[Any] = column.values.tolist()
        return numbers
    plain = [list(one) if isinstance(one, tuple) else one for one in column.distinct]
    return [plain[code] for code in column.codes.tolist()]


def _strings(value: Any) -> tuple[str, ...] | None:
    if type(value) is list and all(type(part) is str for part in value):
        return tuple(value)
    return None


def _coded(values: Iterable[Any]) -> Codes:
    places: dict[Any, int] = {None: 0}
    codes = [places.setdefault(value, len(places)) for value in values]
    return Codes(np.array(codes, np.int32), list(places))


def _instants(values: list[Any]) -> Ints:
    known: dict[Any, int] = {None: MISSING}
    for value in {value for value in values if type(value) in (int, str)}:
        read = instant_of(value)
        known[value] = MISSING if read is None else read
    return np.array(
        [known[value] if type(value) in (int, str) else MISSING for value in values], np.int64
    )


def _integers(values: list[Any]) -> Ints:
    return np.array(
        [
            value if type(value) is int and -INTEGER_LIMIT <= value <= INTEGER_LIMIT else MISSING
            for value in values
        ],
        np.int64,
    )


_NUMBERS = {float, int, type(None)}


def _decimals(values: list[Any]) -> Ints:
    if not set(map(type, values)) <= _NUMBERS:
        values = [value if type(value) in _NUMBERS else None for value in values]
    # Integers of over 19 digits do not occur: orjson reads them as floats.
    scaled = np.array(values, np.float64) * SCALE
    with np.errstate(invalid="ignore"):
        whole = np.rint(scaled)
        sure = (np.abs(scaled - whole) < 0.45) & (np.abs(scaled) < 1e14)
    out = np.full(len(values), MISSING, np.int64)
    out[sure] = whole[sure].astype(np.int64)
    for row in np.flatnonzero(~sure).tolist():
        if values[row] is not None:
            with suppress(Refusal):
                out[row] = ten_thousandths(Decimal(repr(values[row])))
    return out


def truth(
    condition: Condition, columns: Mapping[str, Column], types: Mapping[str, FieldType], size: int
) -> Bools:
    """One bit per row: does ``condition`` (a filter) hold?"""
    match condition:
        case Compare(Property(name), operator, value):
            return compare(columns[name], types[name], operator, value)
        case AllOf(parts):
            result = np.ones(size, np.bool_)
            for part in parts:
                result &= truth(part, columns, types, size)
            return result
        case AnyOf(parts):
            result = np.zeros(size, np.bool_)
            for part in parts:
                result |= truth(part, columns, types, size)
            return result
        case Not(part):
            return ~truth(part, columns, types, size)
        case _:
            raise InternalError(f"not a filter: {condition!r}")


def compare(column: Column, type_: FieldType, operator: Operator, value: Value) -> Bools:
    """One bit per row of a column."""
    if isinstance(column, Numbers):
        line = line_of(type_, value)
        if line is None or line == "age":
            raise InternalError(f"{operator!r} {value!r} in a filter")
        negated, cuts = cuts_of(operator, value, line)
        return on_line(column.values, cuts) ^ np.bool_(negated)
    test = test_of(type_, operator, value)
    answers = [passes_missing(operator, value), *(test(one) for one in column.distinct[1:])]
    passes: Bools = np.array(answers, np.bool_)[column.codes]
    return passes


def on_line(values: npt.NDArray[np.integer[Any]], cuts: Sequence[int]) -> Bools:
    """Where an odd number of ``cuts`` is at or below the value."""
    inside: Bools
    if len(cuts) == 1:
        inside = values >= cuts[0]
    elif len(cuts) == 2:
        inside = (values >= cuts[0]) & (values < cuts[1])
    else:
        places = np.searchsorted(np.array(cuts, np.int64), values, side="right")
        inside = (places & 1).astype(np.bool_)
    return inside
