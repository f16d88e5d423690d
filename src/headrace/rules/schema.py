"""JSON Schema (2020-12) of segments and catalogs, generated from the model, for editors.

An editor completes and underlines by it. It is a little wider than the parser where JSON Schema
has no words: names against the catalog, one constant against another.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from headrace.rules.checks import OPERATORS_OF
from headrace.rules.conditions import FUNCTIONS, LIST_NAME, LOGIC, OPERATORS
from headrace.rules.cron import FIELD, FIELDS
from headrace.rules.documents import FIELD_TYPES, MODES
from headrace.rules.metadata import API_VERSION, ID
from headrace.rules.model import CONTINUOUS, COUNTING
from headrace.rules.rule_test_schema import rule_test_schema
from headrace.rules.windows import PERIODS

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_DURATION = {
    "type": "string",
    "pattern": r"^[0-9]+\s*([sSmMhHdDwW]|[A-Za-z]{3,7})$",
    "examples": ["30 days", "12h", "1 minute"],
}
_SCALAR = {"type": ["string", "number", "boolean"]}
_TEXT = {"type": ["string", "number", "boolean"], "description": "Read as text."}
_SCALARS = {"type": "array", "items": _SCALAR, "minItems": 1}
_INSTANT = {"type": ["string", "integer"], "examples": ["2026-01-31T09:00:00Z"]}

_WINDOWS: Final[dict[str, Schema]] = {
    "within": _DURATION,
    "since": _INSTANT,
    "period": {"enum": list(PERIODS)},
    "resolution": _DURATION,
}

_VALUES: Final[dict[str, Schema]] = {
    "between": {**_SCALARS, "minItems": 2, "maxItems": 2, "description": "Both ends included."},
    "in": _SCALARS,
    "not_in": _SCALARS,
    "contains_any": _SCALARS,
    "contains_all": _SCALARS,
    "exists": {"type": "boolean"},
    "matches": {"type": "string", "maxLength": 256, "description": "RE2 syntax, unanchored."},
    "before": {"type": ["string", "integer"], "description": "An instant, or -3 days from now."},
    "after": {"type": ["string", "integer"], "description": "An instant, or -3 days from now."},
}


def segment_schema() -> Schema:
    """The schema of ``kind: Segment``."""
    statement = {"type": "string", "description": "One SELECT of user_id, evaluated in batch."}
    spec = _object(
        {
            "match": {"$ref": "#/$defs/condition"},
            "timezone": {"type": "string", "examples": ["Europe/Berlin"]},
            "refresh": _refresh(),
            "stay": _stay(),
            "sql": statement,
        },
        [],
    )
    spec["oneOf"] = [{"required": ["match"]}, {"required": ["sql", "refresh"]}]
    metadata = _object(
        {
            "id": {"type": "string", "pattern": f"^{ID.pattern}$"},
            "name": _TEXT,
            "owner": _TEXT,
            "description": _TEXT,
            "tags": {"type": "array", "items": _TEXT},
        },
        ["id"],
    )
    body = {
        "apiVersion": {"const": API_VERSION},
        "kind": {"const": "Segment"},
        "metadata": metadata,
        "spec": spec,
        "tests": {"type": "array", "items": {"$ref": "#/$defs/test"}},
    }
    return {
        "$schema": DRAFT,
        "title": "A segment of Headrace",
        **_object(body, ["apiVersion", "kind", "metadata", "spec"]),
        "$defs": {
            "condition": _logic("condition", _conditions()),
            "filter": _logic("filter", [_compared({"property": _TEXT}, OPERATORS)]),
            "where": {"anyOf": [{"$ref": "#/$defs/filter"}, _equalities()]},
            "step": _step(),
            "test": _test(),
        },
    }


def catalog_schema() -> Schema:
    """The schema of ``kind: Catalog``."""
    field = _object(
        {
            "type": {"enum": list(FIELD_TYPES)},
            "unit": _TEXT,
            "pii": {"type": "boolean"},
            "description": _TEXT,
        },
        ["type"],
    )
    fields = {"type": "object", "additionalProperties": {"$ref": "#/$defs/field"}}
    traits = {"anyOf": [{"$ref": "#/$defs/field"}, {"$ref": "#/$defs/computed"}]}
    event = _object(
        {"description": _TEXT, "publish": {"type": "boolean"}, "properties": fields}, []
    )
    mode = {"enum": list(MODES)}
    body = {
        "apiVersion": {"const": API_VERSION},
        "kind": {"const": "Catalog"},
        "modes": _object({"events": mode, "properties": mode}, []),
        "events": {"type": "object", "additionalProperties": event},
        "traits": {"type": "object", "additionalProperties": traits},
    }
    return {
        "$schema": DRAFT,
        "title": "A catalog of Headrace",
        **_object(body, ["apiVersion", "kind"]),
        "$defs": {
            "field": field,
            "computed": _computed(),
            "filter": _logic("filter", [_compared({"property": _TEXT}, OPERATORS)]),
            "where": {"anyOf": [{"$ref": "#/$defs/filter"}, _equalities()]},
        },
    }


def _computed() -> Schema:
    """What an event condition measures, without a comparison."""
    span = {"type": "array", "items": _INSTANT, "minItems": 2, "maxItems": 2}
    functions: Schema = {name: {"const": True} if name in COUNTING else _TEXT for name in FUNCTIONS}
    more = {"where": {"$ref": "#/$defs/where"}, **_WINDOWS, "between": span}
    body = _object({"event": _TEXT, **functions, **more, "description": _TEXT}, ["event"])
    return {**body, "oneOf": [{"required": [name]} for name in FUNCTIONS]}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _logic(name: str, leaves: list[Schema]) -> Schema:
    """Leaves, and the logic around them."""
    part = {"$ref": f"#/$defs/{name}"}
    parts = {"type": "array", "items": part, "minItems": 1}
    forms = [_object({head: part if head == "not" else parts}, [head]) for head in LOGIC]
    return {"anyOf": [*forms, *leaves]}


def _conditions() -> list[Schema]:
    where = {"$ref": "#/$defs/where"}
    window = {"where": where, **_WINDOWS}
    span = {"type": "array", "items": _INSTANT, "minItems": 2, "maxItems": 2}
    ordered = sorted({*OPERATORS_OF["decimal"], *OPERATORS_OF["timestamp"]}, key=OPERATORS.index)
    events = [
        _compared(
            {"event": _TEXT, name: {"const": True} if name in COUNTING else _TEXT},
            OPERATORS if name in ("first", "last") else ordered,
            window,
            span,
        )
        for name in FUNCTIONS
    ]
    did = [_object({head: _TEXT, **window, "between": span}, [head]) for head in ("did", "did_not")]
    percent = {"type": "number", "exclusiveMinimum": 0, "maximum": 100}
    sample = _object({"percent": percent, "salt": _TEXT}, ["percent"])
    steps = {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1}
    others = [
        _object({"segment": _TEXT}, ["segment"]),
        _object({"list": {"type": "string", "pattern": f"^{LIST_NAME.pattern}$"}}, ["list"]),
        _object({"sample": sample}, ["sample"]),
        _object({"sequence": steps, **_WINDOWS, "between": span}, ["sequence"]),
    ]
    return [_compared({"trait": _TEXT}, OPERATORS), *did, *events, *others]


def _step() -> Schema:
    more = {"where": {"$ref": "#/$defs/where"}, "within": _DURATION}
    return {"anyOf": [_object({head: _TEXT, **more}, [head]) for head in ("event", "not")]}


def _refresh() -> Schema:
    line = " +".join([FIELD] * len(FIELDS))
    cron = {"type": "string", "pattern": f"^ *{line} *$", "examples": ["0 3 * * 1"]}
    return {"anyOf": [{"const": CONTINUOUS}, cron]}


def _stay() -> Schema:
    lengths = {"min_dwell": _DURATION, "cooldown": _DURATION}
    body = _object({"exit_when": {"$ref": "#/$defs/condition"}, **lengths}, [])
    return {**body, "minProperties": 1}


def _compared(
    heads: Schema, operators: Any, optional: Schema | None = None, span: Schema | None = None
) -> Schema:
    """``heads`` with exactly one of ``operators``, beside a `between` that is a ``span``."""
    values = {name: _VALUES.get(name, _SCALAR) for name in operators}
    one = [{"required": [name]} for name in operators]
    body = _object({**heads, **(optional or {}), **values}, list(heads))
    if span is None:
        return {**body, "oneOf": one}
    others = [{"required": [name]} for name in operators if name != "between"]
    beside = {"properties": {"between": span}, "required": ["between"], "oneOf": others}
    return {**body, "anyOf": [{"oneOf": one}, beside]}


def _equalities() -> Schema:
    return {
        "type": "object",
        "additionalProperties": _SCALAR,
        "minProperties": 1,
        "propertyNames": {"not": {"enum": [*LOGIC, "property"]}},
    }


def _test() -> Schema:
    values = {"type": ["string", "number", "boolean", "array", "null"]}
    event = {
        "type": "object",
        "properties": {"user": _TEXT, "ts": _INSTANT, "type": _TEXT, "id": _TEXT},
        "required": ["user", "ts", "type"],
        "additionalProperties": values,
    }
    expected = {"user": _TEXT, "at": _INSTANT, "member": {"type": "boolean"}}
    return _object(
        {
            "name": _TEXT,
            "events": {"type": "array", "items": event},
            "expect": {
                "type": "array",
                "items": _object(expected, list(expected)),
                "minItems": 1,
            },
        },
        ["name", "events", "expect"],
    )


def tests_schema() -> Schema:
    """The schema of ``kind: RuleTest``."""
    return rule_test_schema(_test())


SCHEMAS: Final = {
    "segment.schema.json": segment_schema,
    "catalog.schema.json": catalog_schema,
    "ruletest.schema.json": tests_schema,
}


def write_schemas(folder: Path) -> None:
    """Write every schema into ``folder``."""
    for name, schema in SCHEMAS.items():
        (folder / name).write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(__file__).parent)
