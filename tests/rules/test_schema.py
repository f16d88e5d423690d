"""The committed JSON Schemas: as generated, and as wide as the parser."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml as any_yaml
from hypothesis import given, settings

import headrace.rules
from headrace.rules.model import Segment
from headrace.rules.schema import SCHEMAS
from headrace.rules.yaml import print_segment
from strategies import segments

PACKAGE = Path(headrace.rules.__file__).parent
RULES = Path(__file__).parents[2] / "rules"


class Texts(any_yaml.SafeLoader):
    """YAML as an editor's schema check sees it, but for dates, which stay texts."""


Texts.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
    for first, found in any_yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@cache
def validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads((PACKAGE / name).read_text()))


def load(text: str) -> Any:
    return any_yaml.load(text, Texts)


@pytest.mark.parametrize("name", SCHEMAS)
def test_committed_schemas_are_the_generated_ones(name: str) -> None:
    assert json.loads((PACKAGE / name).read_text()) == SCHEMAS[name]()
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name]())


@pytest.mark.parametrize("path", sorted(RULES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_our_own_rules_name_their_schema_and_fit_it(path: Path) -> None:
    text = path.read_text()
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    schema = (path.parent / first.partition("=")[2]).resolve()
    assert schema.is_file()
    validator(schema.name).validate(load(text))


@settings(max_examples=100, deadline=None)
@given(segments())
def test_whatever_the_parser_takes_fits(segment: Segment) -> None:
    validator("segment.schema.json").validate(load(print_segment(segment)))


@pytest.mark.parametrize(
    "match",
    [
        {"event": "purchase", "count": True, "within": "30", "gte": 1},
        {"event": "purchase", "count": False, "gte": 1},
        {"event": "purchase", "gte": 1},
        {"event": "purchase", "count": True},
        {"event": "purchase", "sum": "amount", "avg": "amount", "gte": 1},
        {"trait": "age", "gte": 1, "lte": 2},
        {"trait": "age", "between": [1]},
        {"trait": "age", "greater": 1},
        {"all": []},
        {"all": [], "any": []},
        {"sequence": []},
        [],
    ],
    ids=str,
)
def test_what_the_parser_refuses_does_not(match: Any) -> None:
    segment = {
        "apiVersion": "headrace/v1",
        "kind": "Segment",
        "metadata": {"id": "x"},
        "spec": {"match": match},
    }
    assert not validator("segment.schema.json").is_valid(segment)
