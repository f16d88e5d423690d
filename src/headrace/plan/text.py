"""Conditions and catalogs as JSON values and back: the parts of a plan the rule model owns."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any, assert_never

from headrace.clock import format_instant
from headrace.errors import InternalError
from headrace.rules.catalog import Catalog, EventType, Field
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    InList,
    InSegment,
    Measure,
    Not,
    Property,
    Sample,
    Scalar,
    Sequence,
    Span,
    Trait,
    Value,
)  # fmt: skip

SYMBOLS = {"eq": "=", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def value_out(value: Value) -> Any:
    """Numbers are tagged, because JSON readers disagree on them."""
    match value:
        case tuple():
            return [value_out(part) for part in value]
        case bool() | str():
            return value
        case Decimal():
            return {"number": plain(value)}
        case Ago(length):
            return {"ago": length}
        case _:
            assert_never(value)


def plain(number: Decimal) -> str:
    """One text per number: no exponent, no trailing zeros, no minus zero."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def value_in(value: Any) -> Value:
    """The constant of `value_out`'s value."""
    if isinstance(value, list):
        return tuple(_scalar_in(part) for part in value)
    return _scalar_in(value)


def _scalar_in(value: Any) -> Scalar:
    match value:
        case bool() | str():
            return value
        case {"number": text}:
            return Decimal(text)
        case {"ago": length}:
            return Ago(length)
        case _:
            raise InternalError(f"not a constant of a plan: {value!r}")


def filter_out(condition: Condition) -> Any:
    """A filter on events as a JSON value."""
    match condition:
        case Compare(Property(name), operator, value):
            return {"property": name, "operator": operator, "value": value_out(value)}
        case AllOf(parts):
            return {"all": [filter_out(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [filter_out(part) for part in parts]}
        case Not(part):
            return {"not": filter_out(part)}
        case Compare(Measure() | Trait(), _, _) | InSegment() | InList() | Sample() | Sequence():
            raise InternalError("a filter looks at properties only")
        case _:
            assert_never(condition)  # type: ignore[arg-type]  # mypy keeps Compare's subject open


def filter_in(value: Any) -> Condition:
    """The filter of `filter_out`'s value."""
    match value:
        case {"all": parts}:
            return AllOf(tuple(filter_in(part) for part in parts))
        case {"any": parts}:
            return AnyOf(tuple(filter_in(part) for part in parts))
        case {"not": part}:
            return Not(filter_in(part))
        case {"property": name, "operator": operator, "value": constant}:
            return Compare(Property(name), operator, value_in(constant))
        case _:
            raise InternalError(f"not a filter of a plan: {value!r}")


def catalog_out(catalog: Catalog) -> dict[str, Any]:
    """A catalog as a JSON value."""
    return {
        "events": {
            name: {
                "description": event.description,
                "properties": {key: dataclasses.asdict(of) for key, of in event.properties.items()},
                **({"publish": True} if event.publish else {}),
            }
            for name, event in catalog.events.items()
        },
        "traits": {name: dataclasses.asdict(of) for name, of in catalog.traits.items()},
        "properties_mode": catalog.properties_mode,
        "events_mode": catalog.events_mode,
    }


def catalog_in(value: dict[str, Any]) -> Catalog:
    """The catalog of `catalog_out`'s value."""
    return Catalog(
        events={
            name: EventType(
                properties={key: Field(**of) for key, of in event["properties"].items()},
                description=event["description"],
                publish=event.get("publish", False),
            )
            for name, event in value["events"].items()
        },
        traits={name: Field(**of) for name, of in value["traits"].items()},
        properties_mode=value["properties_mode"],
        events_mode=value["events_mode"],
    )


def window_text(length: int) -> str:
    """``within 30d``, by the largest unit that divides the length; nothing for ever."""
    if not length:
        return ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if length % size == 0:
            return f" within {length // size}{unit}"
    return f" within {length}ms"


def span_text(span: Span | None) -> str:
    """`` since 2026-01-01``, `` between 2026-01-01 and 2026-02-01``; nothing without one."""
    if span is None:
        return ""
    start = format_instant(span.start)
    if span.end is None:
        return f" since {start}"
    return f" between {start} and {format_instant(span.end)}"


def test_text(name: str, operator: str, value: Value) -> str:
    """A comparison for people: ``page = "/pricing"``."""
    if operator == "exists":
        return f"{name} exists" if value is not False else f"{name} is missing"
    return f"{name} {SYMBOLS.get(operator, operator)} {constant_text(value)}"


def filter_text(condition: Condition) -> str:
    """A filter for people: ``page = "/pricing" and amount > 10``."""
    match condition:
        case Compare(subject, operator, value):
            return test_text(
                subject.name if isinstance(subject, Property) else "?", operator, value
            )
        case AllOf(parts):
            return "(" + " and ".join(filter_text(part) for part in parts) + ")"
        case AnyOf(parts):
            return "(" + " or ".join(filter_text(part) for part in parts) + ")"
        case Not(part):
            return f"not {filter_text(part)}"
        case InSegment() | InList() | Sample() | Sequence():
            raise InternalError("a filter looks at properties only")
        case _:
            assert_never(condition)


def constant_text(value: Value) -> str:
    """A constant for people."""
    match value:
        case tuple():
            return "[" + ", ".join(constant_text(part) for part in value) + "]"
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case Decimal():
            return plain(value)
        case Ago(length):
            window = window_text(abs(length)).removeprefix(" within ") or "0s"
            return f"{window} {'ago' if length >= 0 else 'ahead'}"
        case _:
            assert_never(value)


__all__ = [
    "canonical", "catalog_in", "catalog_out", "constant_text", "filter_in", "filter_out",
    "filter_text", "plain", "value_in", "value_out", "window_text",
]  # fmt: skip
