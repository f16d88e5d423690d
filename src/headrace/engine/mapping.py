"""Messages of a stream -> events in our form, as bytes that the door judges like any other.

Each message is mapped by itself. Numbers keep the digits they were written with.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from typing import Final, assert_never

import orjson

from headrace.clock import parse_instant
from headrace.engine.fields import Refusal, depth_exceeds
from headrace.engine.forms import Value, read_avro, read_change, read_json
from headrace.engine.judge import MAX_DEPTH
from headrace.rules.streams.model import (
    At,
    Computed,
    Constant,
    Conversion,
    Converted,
    Expression,
    First,
    Joined,
    Lookup,
    Lower,
    Stream,
)
from headrace.rules.streams.paths import NOTHING, found_at

_WORDS: Final = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_MOST_DIGITS: Final = 400  # what a double may need; longer texts are no numbers of anybody's
_EXACT: Final = Context(prec=1_000, traps=[Inexact, InvalidOperation, Overflow])
_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,9})?))? ?(?:[Zz]|([+-]\d\d):?(\d\d)?)?",
    re.ASCII,
)
_IDS: Final = ("user_id", "event_id", "from", "to")


class Mapper:
    """Maps the messages of one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._is_ours = stream.format == "headrace"
        self._types = frozenset(stream.types)

    def mapped(self, value: bytes | None, *, partition: int, offset: int) -> bytes:
        """The event of a message at its place in the topic; raises Refusal where there is none.

        Without an id of its own it has one made of the stream and the place.
        """
        stream = self._stream
        is_changed = stream.enrich or self._types or stream.schema
        if self._is_ours and not is_changed and value is not None:
            return value
        match stream.format:
            case "avro":
                message = read_avro(value, stream.schema, stream.schema_id)
            case "debezium":
                message = read_change(value, stream.key, stream.schema)
            case _:
                message = read_json(value, stream.schema)
        event = message if self._is_ours else self._event(message)
        if self._stream.enrich and isinstance(event, dict):
            self._enrich(event)
        if self._types:
            kind = event.get("type") if type(event) is dict else None
            if type(kind) is not str or kind not in self._types:
                raise Refusal("no-stream")
        if not self._is_ours and "event_id" not in event:
            event["event_id"] = f"{self._stream.id}:{partition}:{offset}"
        return _written(event)

    def _event(self, message: Value) -> dict[str, Value]:
        map_ = self._stream.map
        event: dict[str, Value] = {}
        for name, expression in map_.fields.items():
            found = _value(expression, message)
            if found is not NOTHING and found is not None:
                event[name] = _identity(found) if name in _IDS else found
        facts: dict[str, Value] = {}
        if map_.all_properties is not None:
            found = found_at(map_.all_properties, message)
            if type(found) is dict:
                facts = dict(found)
            elif found is not NOTHING and found is not None:
                raise Refusal("wrong-type")
        for name, expression in map_.properties.items():
            found = _value(expression, message)
            if found is not NOTHING:
                facts[name] = found
        if self._stream.format == "debezium" and message["__op"] == "d":
            # Of a row that is gone nothing is true any more.
            facts = dict.fromkeys((*facts, *map_.properties))
        if facts:
            event["traits" if event.get("type") == "traits" else "properties"] = facts
        return event

    def _enrich(self, event: dict[str, Value]) -> None:
        where = "traits" if event.get("type") == "traits" else "properties"
        found = {name: _value(of, event) for name, of in self._stream.enrich.items()}
        facts = event.get(where)
        if facts is not None and type(facts) is not dict:
            raise Refusal("wrong-type")
        known = {name: value for name, value in found.items() if value is not NOTHING}
        if known:
            event[where] = {**(facts or {}), **known}


def _written(event: Value) -> bytes:
    try:
        return orjson.dumps(event, default=_as_written)
    except (orjson.JSONEncodeError, RecursionError):
        # Half a surrogate pair, or deeper than the writer goes.
        raise Refusal("too-deep" if depth_exceeds(event, MAX_DEPTH) else "not-json") from None


def _as_written(number: Decimal) -> orjson.Fragment:
    return orjson.Fragment(str(number))


def _value(expression: Expression, message: Value) -> Value:
    match expression:
        case At():
            return found_at(expression, message)
        case Constant(value):
            return _number(value) if isinstance(value, Decimal) else value
        case Converted(of, to):
            found = _value(of, message)
            return found if found in (NOTHING, None) else _converted(found, to)
        case Lookup(of, table, default):
            key = _text(_value(of, message))
            found = table.get(key, default) if key is not None else default
            if found is None:
                return NOTHING
            return _number(found) if isinstance(found, Decimal) else found
        case First(of):
            values = (_value(part, message) for part in of)
            return next((one for one in values if one not in (NOTHING, None)), NOTHING)
        case Joined(parts):
            texts = [_text(_value(part, message)) for part in parts]
            return NOTHING if None in texts else "".join(filter(None, texts))
        case Lower(of):
            text = _text(_value(of, message))
            return NOTHING if text is None else text.strip().lower()
        case Computed(how, of):
            return _computed(how, [_value(part, message) for part in of])
        case _:
            assert_never(expression)


def _computed(how: str, values: list[Value]) -> Value:
    if any(value in (NOTHING, None) for value in values):
        return NOTHING
    if any(type(value) not in (int, Decimal) for value in values):
        raise Refusal("wrong-type")
    total = Decimal(0 if how == "sum" else 1)
    combine = _EXACT.add if how == "sum" else _EXACT.multiply
    try:
        for value in values:
            total = combine(total, Decimal(value))
    except DecimalException:
        raise Refusal("out-of-range") from None
    return _number(total)


def _text(value: Value) -> str | None:
    """A value as text; None where there is none, and of what is no single value."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) in (int, Decimal):
        return str(value)
    return None


def _identity(value: Value) -> Value:
    """An id: numbers are ids too, written as they are."""
    return str(value) if type(value) in (int, Decimal) else value


def _number(value: Decimal) -> int | Decimal:
    """Whole numbers without a point, as JSON's readers want them for integers."""
    if abs(value) < 1 << 53 and value == value.to_integral_value():
        return int(value)
    return value


def _converted(value: Value, to: Conversion) -> Value:
    match to:
        case "text":
            found = _text(value)
            if found is None:
                raise Refusal("wrong-type")
            return found
        case "boolean":
            word = (_text(value) or "").strip().lower()
            if word not in _WORDS:
                raise Refusal("wrong-type")
            return _WORDS[word]
        case "number":
            return _number(_read_number(value))
        case "instant":
            return _instant(value)
        case "seconds" | "milliseconds":
            scale = 1_000 if to == "seconds" else 1
            number = _read_number(value)
            if abs(number) > 1 << 53:
                raise Refusal("out-of-range")
            return round(number * scale)
        case _:
            assert_never(to)


def _instant(value: Value) -> int:
    """Instants as databases write them: in UTC if no zone is said, of a date its midnight."""
    if type(value) is int:
        return value
    said = _MOMENT.fullmatch(value.strip()) if type(value) is str else None
    if said is None:
        raise Refusal("wrong-type")
    day, time, hours, minutes = said.groups()
    zone = f"{hours}:{minutes or '00'}" if time and hours else "Z"
    try:
        return parse_instant(f"{day}T{time or '00:00:00'}{zone}")
    except (ValueError, OverflowError):
        raise Refusal("wrong-type") from None


def _read_number(value: Value) -> Decimal:
    if type(value) in (int, Decimal):
        return Decimal(value)
    text = value.strip() if type(value) is str else ""
    if not 0 < len(text) <= _MOST_DIGITS:
        raise Refusal("wrong-type")
    try:
        number = Decimal(text)
    except DecimalException:
        raise Refusal("wrong-type") from None
    if not number.is_finite():
        raise Refusal("wrong-type")
    return number
