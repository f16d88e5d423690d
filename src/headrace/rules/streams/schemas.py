"""The schemas that messages of a stream are held against: JSON Schema, or that of Avro.

Both are compiled once in a process. Nothing in a schema is fetched from elsewhere, its patterns
run in linear time, and what a message may become is bounded before any is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import fastavro
import jsonschema_rs
from fastavro.schema import SchemaParseException, UnknownType

LARGEST: Final = 64 * 1024  # characters; a schema travels with every plan
MOST_FIELDS: Final = 5_000  # values that one Avro message may hold, lists and maps apart
MOST_VALUES_PER_BYTE: Final = 50  # of lists and maps, so that 256 KiB stay in bounds
MOST_DIGITS: Final = 100
_SIZES: Final = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip


@lru_cache(maxsize=64)
def json_validator(text: str) -> jsonschema_rs.Validator:
    """The validator of a JSON Schema (the draft it names, or 2020-12); ValueError for none."""
    try:
        return jsonschema_rs.validator_for(
            json.loads(text), offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(str(error).split("\n", 1)[0]) from None


@lru_cache(maxsize=64)
def avro_schema(text: str) -> dict[str, Any]:
    """The schema of an Avro record, as its reader takes it; ValueError for none."""
    try:
        schema = fastavro.parse_schema(json.loads(text))
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise ValueError("a message is a record, and this is the schema of something else")
        _weighed(schema, {})
    except (SchemaParseException, UnknownType, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    return schema


def schema_problem(is_avro: bool, text: str) -> str | None:
    """Why no message can be held against this schema; None when it is a good one."""
    if len(text) > LARGEST:
        return f"a schema has at most {LARGEST:,} characters, not {len(text):,}"
    try:
        avro_schema(text) if is_avro else json_validator(text)
    except ValueError as error:
        return f"not a schema of {'Avro' if is_avro else 'JSON'}: {error}"
    return None


def violation(text: str, message: Any) -> str:
    """Where a message first breaks a JSON Schema, and how; empty where it does not."""
    for error in json_validator(text).iter_errors(message):
        return f"/{'/'.join(map(str, error.instance_path))}: {error.message}"
    return ""


def covers(schema: str, other: str) -> bool:
    """Is everything allowed that the other JSON Schema allows? In doubt it is not."""
    if schema == other:
        return True
    try:
        wide, narrow = (
            jsonschema_rs.canonicalize(
                json.loads(text), offline=True, pattern_options=jsonschema_rs.RegexOptions()
            )
            for text in (schema, other)
        )
        return wide.covers(narrow) is jsonschema_rs.canonical.Containment.YES
    except ValueError:  # of two drafts, or beyond what can be reasoned about
        return False


@dataclass(frozen=True, slots=True)
class _Weight:
    """How many values something holds, and how many bytes it takes, at the least."""

    values: int
    size: int


def _weighed(schema: Any, known: dict[str, _Weight | None]) -> _Weight:
    """The weight of what a schema describes.

    Refused are records within themselves, which a few bytes nest deeper than any reader goes, and
    lists of what takes no bytes, of which a few claim billions.
    """
    if isinstance(schema, str):
        return _named(schema, known)
    if isinstance(schema, list):
        branches = [_weighed(branch, known) for branch in schema]
        least = min((branch.size for branch in branches), default=0)
        return _limited(sum(branch.values for branch in branches), 1 + least)
    assert isinstance(schema, Mapping)
    kind = schema["type"]
    if kind == "record":
        known[schema["name"]] = None
        fields = [_weighed(field["type"], known) for field in schema["fields"]]
        weight = _limited(1 + sum(of.values for of in fields), sum(of.size for of in fields))
        known[schema["name"]] = weight
    elif kind == "array":
        weight = _many(_weighed(schema["items"], known))
    elif kind == "map":
        values = _weighed(schema["values"], known)
        weight = _many(_Weight(values.values, values.size + 1))  # a key takes a byte at least
    elif kind in ("fixed", "enum"):
        size = schema["size"] if kind == "fixed" else 1
        if type(size) is not int or size < 0:
            raise ValueError(f"{schema['name']!r} is not of {size!r} bytes")
        weight = _Weight(1, size)
        known[schema["name"]] = weight
    else:
        weight = _weighed(kind, known)
    if schema.get("logicalType") == "decimal":
        _require_digits(schema)
    return weight


def _many(items: _Weight) -> _Weight:
    """A list or map: few bytes of it must not become very many values."""
    if items.values > MOST_VALUES_PER_BYTE * items.size:
        raise ValueError(
            f"a list or map of {items.values} values in {items.size} bytes or more each may be of"
            " any length"
        )
    return _limited(1 + items.values, 1)


def _require_digits(schema: Mapping[str, Any]) -> None:
    digits = schema.get("precision")
    if type(digits) is not int or not 0 < digits <= MOST_DIGITS:
        raise ValueError(f"a decimal has a precision of 1 to {MOST_DIGITS} digits, not {digits!r}")


def _named(name: str, known: Mapping[str, _Weight | None]) -> _Weight:
    if name in _SIZES:
        return _Weight(1, _SIZES[name])
    weight = known[name]
    if weight is None:
        raise ValueError(f"a record {name!r} within itself may be of any depth")
    return weight


def _limited(values: int, size: int) -> _Weight:
    if values > MOST_FIELDS:
        raise ValueError(f"more than {MOST_FIELDS:,} fields")
    return _Weight(values, size)
