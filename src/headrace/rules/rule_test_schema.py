"""JSON Schema (2020-12) of files of tests, for editors."""

from __future__ import annotations

import copy
from typing import Any

from headrace.rules.metadata import API_VERSION
from headrace.rules.rule_tests import KIND

Schema = dict[str, Any]


def rule_test_schema(test: Schema) -> Schema:
    """The schema of ``kind: RuleTest``; ``test`` is that of a test beside a segment."""
    text = {"type": ["string", "number", "boolean"], "description": "Read as text."}
    texts = {"type": "array", "items": text}
    apart = copy.deepcopy(test)
    apart["properties"]["lists"] = {
        "type": "object",
        "additionalProperties": texts,
        "description": "Users on uploaded lists.",
    }
    apart["required"] = ["name", "expect"]
    apart["anyOf"] = [{"required": ["events"]}, {"required": ["lists"]}]
    apart["properties"]["expect"]["items"]["properties"]["segment"] = text
    metadata = {
        "type": "object",
        "properties": {"name": text, "description": text},
        "required": ["name"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tests of segments of Headrace",
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": KIND},
            "metadata": metadata,
            "segments": {**texts, "description": "What expectations are about that do not say."},
            "tests": {"type": "array", "items": apart},
        },
        "required": ["apiVersion", "kind", "metadata", "tests"],
        "additionalProperties": False,
    }
