"""A Stream -> its one document, which reads as the same stream."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, assert_never

import yaml

from headrace.rules.durations import format_duration
from headrace.rules.metadata import API_VERSION
from headrace.rules.streams.model import (
    At,
    Computed,
    Constant,
    Converted,
    Database,
    Expression,
    First,
    Joined,
    Lookup,
    Lower,
    Mapped,
    Scalar,
    Stream,
)
from headrace.rules.streams.paths import path_text


def canonical(stream: Stream) -> str:
    """The one text of a stream: equal streams give equal bytes."""
    return json.dumps(document(stream), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def yaml_text(stream: Stream) -> str:
    """A stream as a person would write it: what is usual is left out."""
    told = document(stream)
    usual = document(Stream(id="", topic=""))["spec"]
    told["spec"] = {key: value for key, value in told["spec"].items() if usual.get(key) != value}
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=120)


def document(stream: Stream) -> dict[str, Any]:
    """A stream as a JSON value."""
    about = {"id": stream.id, "owner": stream.owner, "description": stream.description}
    spec = {
        "topic": stream.topic,
        "format": stream.format,
        "types": list(stream.types),
        "sources": list(stream.sources),
        "begin": stream.begin,
        "partitions": stream.partitions,
        "retention": format_duration(stream.retention),
        "silent_after": format_duration(stream.silent_after) if stream.silent_after else None,
        "schema": stream.schema or None,
        "schema_id": stream.schema_id,
        "key": list(stream.key),
        "database": _database(stream.database),
        "map": _map(stream.map),
        "enrich": {name: _spelled(of) for name, of in stream.enrich.items()},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "Stream",
        "metadata": {key: text for key, text in about.items() if text},
        "spec": {key: value for key, value in spec.items() if value not in ([], {}, None)},
    }


def _database(database: Database | None) -> dict[str, Any] | None:
    if database is None:
        return None
    spelled: dict[str, Any] = {"url": database.url, "table": database.table}
    if database.inserts_only:
        spelled["changes"] = "inserts"
    if database.watermark:
        spelled["watermark"] = database.watermark
    return spelled


def _map(mapped: Mapped) -> dict[str, Any]:
    spelled: dict[str, Any] = {name: _spelled(of) for name, of in mapped.fields.items()}
    if mapped.properties:
        spelled["properties"] = {name: _spelled(of) for name, of in mapped.properties.items()}
    if mapped.all_properties is not None:
        spelled["all_properties"] = path_text(mapped.all_properties)
    return spelled


def _spelled(expression: Expression) -> Any:
    match expression:
        case At():
            return path_text(expression)
        case Constant(value):
            is_like_a_path = isinstance(value, str) and value.startswith("$")
            return {"constant": value} if is_like_a_path else _scalar(value)
        case Converted(of, to):
            return {"convert": _spelled(of), "to": to}
        case Lookup(of, table, default):
            rows = {name: _scalar(value) for name, value in table.items()}
            spelled = {"lookup": _spelled(of), "in": rows}
            return spelled if default is None else {**spelled, "default": _scalar(default)}
        case First(of):
            return {"first": [_spelled(part) for part in of]}
        case Joined(parts):
            return {"join": [_spelled(part) for part in parts]}
        case Lower(of):
            return {"lower": _spelled(of)}
        case Computed(how, of):
            return {how: [_spelled(part) for part in of]}
        case _:
            assert_never(expression)


def _scalar(value: Scalar) -> Any:
    """A number as JSON writes it, if that is the same number."""
    if not isinstance(value, Decimal):
        return value
    if value == value.to_integral_value() and abs(value) < 1 << 53:
        return int(value)
    return float(value)
