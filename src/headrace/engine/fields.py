"""Values of properties and traits against the catalog's types, exactly as their text says."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, TypeAlias

from headrace.clock import parse_instant
from headrace.rules.catalog import FieldType

INTEGER_LIMIT = 1 << 53
DECIMAL_LIMIT = 10**11
DEEPEST_READ = 1_000  # the reader gives up at 1,024 levels
SCALE = 10_000
_PLACES = Decimal("0.0001")
_EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN)  # a double has at most 309 digits ahead

Check: TypeAlias = Callable[[Any, bytes, str, str], Any]


class Refusal(Exception):
    """A row that stays outside, with the stable code of its reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def checker(type_: FieldType) -> Check:
    """What a value of ``type_`` must pass: (value, whole text, event type, name) -> value kept."""
    return _CHECKS[type_]


def _string(value: Any, text: bytes, kind: str, name: str) -> Any:
    if type(value) is not str:
        raise Refusal("wrong-type")
    return value


def _boolean(value: Any, text: bytes, kind: str, name: str) -> Any:
    if type(value) is not bool:
        raise Refusal("wrong-type")
    return value


def _integer(value: Any, text: bytes, kind: str, name: str) -> Any:
    if type(value) is int:
        if -INTEGER_LIMIT <= value <= INTEGER_LIMIT:
            return value
        raise Refusal("out-of-range")
    raise Refusal("wrong-type")


def _decimal(value: Any, text: bytes, kind: str, name: str) -> Any:
    if type(value) is int:
        if -DECIMAL_LIMIT < value < DECIMAL_LIMIT:
            return value
        raise Refusal("out-of-range")
    if type(value) is not float:
        raise Refusal("wrong-type")
    scaled = value * SCALE
    if -1e14 < scaled < 1e14:
        whole = round(scaled)
        # Reading and scaling err by under 0.03 here, so away from ties this is the rounding of
        # the text itself.
        if -0.45 < scaled - whole < 0.45:
            rounded = whole / SCALE
            return value if whole and rounded == value else rounded  # -0.0 is 0.0
    whole = ten_thousandths(Decimal(_as_written(text, kind, name)))
    rounded = whole / SCALE
    return value if whole and rounded == value else rounded  # -0.0 is 0.0


def _timestamp(value: Any, text: bytes, kind: str, name: str) -> Any:
    if instant_of(value) is None:
        raise Refusal("wrong-type")
    return value


def _strings(value: Any, text: bytes, kind: str, name: str) -> Any:
    if type(value) is not list or any(type(part) is not str for part in value):
        raise Refusal("wrong-type")
    return value


_CHECKS: dict[FieldType, Check] = {
    "string": _string,
    "integer": _integer,
    "decimal": _decimal,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "array<string>": _strings,
}


def ten_thousandths(number: Decimal) -> int:
    """A decimal rounded half-even to 4 places, as an integer; raises Refusal when out of range."""
    if not number.is_finite() or abs(number) >= DECIMAL_LIMIT:
        raise Refusal("out-of-range")
    if number.adjusted() < -6:
        return 0  # also spares us the digits of 1e-99999
    rounded = int(number.quantize(_PLACES, context=_EXACT).scaleb(4, context=_EXACT))
    if abs(rounded) >= DECIMAL_LIMIT * SCALE:
        raise Refusal("out-of-range")
    return rounded


def _as_written(text: bytes, kind: str, name: str) -> Any:
    line = json.loads(text, parse_float=_float, parse_int=_int)
    return line["traits" if kind == "traits" else "properties"][name]


def _float(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits: a double has read it as nothing
        return Decimal("0.0")


def _int(digits: str) -> int:
    # Python refuses to read integers of thousands of digits; all of them are out of range.
    return int(digits) if len(digits) < 40 else (-1 if digits[0] == "-" else 1) << 200


def instant(text: Any) -> int:
    """An RFC 3339 instant of an event's ``ts``; raises Refusal. A date is no instant."""
    if type(text) is not str or len(text) <= 10:
        raise Refusal("bad-ts")
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise Refusal("bad-ts") from None


def instant_of(value: Any) -> int | None:
    """A timestamp property or trait in ms: RFC 3339, bare date or epoch ms; None when neither."""
    if type(value) is int:
        return value if -INTEGER_LIMIT <= value <= INTEGER_LIMIT else None
    if type(value) is not str:
        return None
    try:
        return parse_instant(value)
    except (ValueError, OverflowError):
        return None


def depth_exceeds(value: Any, limit: int) -> bool:
    """Is ``value`` nested more than ``limit`` levels deep? Without recursion."""
    level = [value]
    for _ in range(limit):
        level = [
            part
            for outer in level
            for part in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def stray_reason(value: bytes) -> str:
    """Why a text that cannot be read as JSON cannot."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "invalid-utf8"
    if "\0" in text:
        return "nul-character"
    depth, in_string, escaped = 0, False, False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "{[":
            depth += 1
            if depth > DEEPEST_READ:
                return "too-deep"
        elif char in "}]":
            depth -= 1
    return "not-json"
