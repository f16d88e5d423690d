"""JSON Schema (2020-12) of files of tests, for editors: ``python -m`` this module writes it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

from headrace.rules.documents import API_VERSION
from headrace.rules.rule_tests import KIND

NAME: Final = "ruletest.schema.json"
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


def write_schema(folder: Path) -> None:
    """Write the schema into ``folder``."""
    from headrace.rules.schema import segment_schema  # which may come to list this one

    schema = rule_test_schema(segment_schema()["$defs"]["test"])
    (folder / NAME).write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schema(Path(__file__).parent)
