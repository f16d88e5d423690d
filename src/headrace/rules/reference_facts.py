"""The oracle's own door: lines -> facts. Written apart from the engine's, to be held against it.

What is refused, and why, is the contract of the event format; this module spells it once more
in plain Python, exact to the digit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, TypeAlias

import orjson

from headrace.clock import parse_instant
from headrace.rules.catalog import LIST, Catalog, Field

LARGEST_LINE = 256 * 1024
DEEPEST = 32
LONGEST_ID = 256
LAST_INSTANT = 253_402_300_799_999
LARGEST_INTEGER = 1 << 53
LARGEST_DECIMAL = 10**11

OnBadLine: TypeAlias = Callable[[int, str], None]


class Refused(Exception):
    """A line that is no fact; the argument is the reason code."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One accepted line.

    ``values`` are as the catalog reads them: decimals in ten-thousandths, instants in ms.
    ``sent`` is what was sent, decimals rounded: its canonical JSON breaks ties.
    """

    user: str
    event_id: str | None
    type: str
    ts: int
    values: Mapping[str, Any]
    sent: Mapping[str, Any]


def read_facts(
    lines: Iterable[bytes | str], catalog: Catalog, at: int, on_bad_line: OnBadLine | None = None
) -> list[Fact]:
    """The facts among ``lines`` up to ``at``; the others are told to ``on_bad_line``."""
    facts = []
    for number, line in enumerate(lines, 1):
        try:
            fact = judge(parse(line), catalog)
        except Refused as refused:
            if on_bad_line is not None:
                on_bad_line(number, str(refused))
            continue
        if fact.ts <= at:
            facts.append(fact)
    return facts


def parse(line: bytes | str) -> dict[str, Any]:
    """The JSON object of ``line``, with Decimals for numbers that have a point."""
    raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    if len(raw) > LARGEST_LINE:
        raise Refused("too-large")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Refused("invalid-utf8") from None
    if "\0" in text:
        raise Refused("nul-character")
    try:
        value = json.loads(text, parse_float=_decimal, parse_int=_integer, parse_constant=_refuse)
        if "\\u" in text:  # half a surrogate pair is no character
            json.dumps(value, ensure_ascii=False, default=str).encode()
        too_deep = _depth(value) > DEEPEST
    except RecursionError:
        raise Refused("too-deep") from None
    except ValueError:
        raise Refused("not-json") from None
    if not isinstance(value, dict):
        raise Refused("not-an-object")
    if too_deep:
        raise Refused("too-deep")
    if "\\u0000" in text and _has_nul(value):
        raise Refused("nul-character")
    return value


def judge(line: Mapping[str, Any], catalog: Catalog) -> Fact:
    """The fact that a JSON object states; Refused with the reason when it states none."""
    kind = line.get("type")
    if kind is None or kind == "":
        raise Refused("missing-type")
    if not isinstance(kind, str) or len(kind) > LONGEST_ID:
        raise Refused("wrong-type")
    if kind == "alias":
        source = _id(line.get("from"), "missing-user-id")
        user = _id(line.get("to"), "missing-user-id")
    else:
        user = _id(line.get("user_id"), "missing-user-id")
    ts = _ts(line.get("ts"))
    event_id = line.get("event_id")
    if event_id is not None:
        event_id = _id(event_id, "missing-event-id")
    elif kind not in ("traits", "alias", "delete"):
        raise Refused("missing-event-id")
    match kind:
        case "alias":
            ends = {"from": source, "to": user}
            return Fact(user, event_id, kind, ts, ends, ends)
        case "delete":
            return Fact(user, event_id, kind, ts, {}, {})
        case "traits":
            values, sent = _values(line.get("traits"), catalog.traits, freeze=False)
        case _:
            event = catalog.events.get(kind)
            if event is None and catalog.events_mode != "evolve":
                raise Refused("unknown-type")
            fields = event.properties if event is not None else {}
            freeze = catalog.properties_mode != "evolve"
            values, sent = _values(line.get("properties"), fields, freeze=freeze)
    return Fact(user, event_id, kind, ts, values, sent)


def canonical(value: Any) -> bytes:
    """Canonical JSON: keys sorted, no spaces, numbers at their shortest."""
    return orjson.dumps(value, default=float, option=orjson.OPT_SORT_KEYS)


def ten_thousandths(number: Decimal) -> int:
    """``number`` rounded half-even to four places, counted in them."""
    if number.adjusted() < -10:
        return 0
    exact = Context(prec=max(28, number.adjusted() + 10), rounding=ROUND_HALF_EVEN)
    return int(number.quantize(Decimal("0.0001"), context=exact).scaleb(4, context=exact))


def _values(
    given: Any, fields: Mapping[str, Field], *, freeze: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    if given is None:
        return {}, {}
    if not isinstance(given, dict):
        raise Refused("wrong-type")
    values, sent = {}, {}
    for name, value in given.items():
        field = fields.get(name)
        if field is None and freeze:
            raise Refused("unknown-property")
        values[name] = _value(value, field) if field is not None and value is not None else None
        if name.startswith(LIST):
            values[name] = value is True or None
        rounds = field is not None and field.type == "decimal" and isinstance(value, Decimal)
        sent[name] = Decimal(str(values[name])) / 10_000 if rounds else value
    return values, sent


def _value(value: Any, field: Field) -> Any:
    """``value`` as its catalogued type reads it."""
    number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    match field.type:
        case "string" if isinstance(value, str):
            return value
        case "boolean" if isinstance(value, bool):
            return value
        case "integer" if number and isinstance(value, int):
            if abs(value) > LARGEST_INTEGER:
                raise Refused("out-of-range")
            return value
        case "decimal" if number:
            if abs(value) >= LARGEST_DECIMAL:
                raise Refused("out-of-range")
            scaled = ten_thousandths(Decimal(value))
            if abs(scaled) >= LARGEST_DECIMAL * 10_000:
                raise Refused("out-of-range")
            return scaled
        case "timestamp" if number and isinstance(value, int):
            if abs(value) <= LARGEST_INTEGER:
                return value
        case "timestamp" if isinstance(value, str):
            try:
                return parse_instant(value)
            except (ValueError, OverflowError):
                pass
        case "array<string>" if isinstance(value, list):
            if all(isinstance(element, str) for element in value):
                return tuple(value)
    raise Refused("wrong-type")


def _id(value: Any, absent: str) -> str:
    if value is None:
        raise Refused(absent)
    if not isinstance(value, str):
        raise Refused("wrong-type")
    if not 1 <= len(value) <= LONGEST_ID:
        raise Refused("bad-id")
    return value


def _ts(value: Any) -> int:
    if value is None:
        raise Refused("missing-ts")
    if isinstance(value, str) and len(value) > 10:  # a bare date is no instant here
        try:
            value = parse_instant(value)
        except (ValueError, OverflowError):
            raise Refused("bad-ts") from None
    if isinstance(value, bool) or not isinstance(value, int) or value > LAST_INSTANT:
        raise Refused("bad-ts")
    if value < 0:
        raise Refused("too-old")
    return value


def _decimal(text: str) -> Decimal:
    if float(text) in (float("inf"), float("-inf")):
        raise ValueError("no double holds it, so most readers of JSON refuse it")
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits, and negative: nothing
        return Decimal("0.0")


def _integer(text: str) -> int | Decimal:
    # Beyond 64 bits a number is as good as one with a point: no field takes it for an integer.
    number = int(text) if len(text) <= 20 else None
    return number if number is not None and -(1 << 63) <= number < 1 << 64 else _decimal(text)


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _depth(value: Any) -> int:
    match value:
        case dict():
            return 1 + max(map(_depth, value.values()), default=0)
        case list():
            return 1 + max(map(_depth, value), default=0)
        case _:
            return 0


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_has_nul(key) or _has_nul(part) for key, part in value.items())
        case list():
            return any(map(_has_nul, value))
        case _:
            return False
