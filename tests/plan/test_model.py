"""A plan is its canonical text: through JSON, through pickle, and by its schema."""

from __future__ import annotations

import json
import pickle
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import InternalError
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.model import Condition, Segment, Stay
from headrace.rules.yaml import parse_catalog, parse_segment
from strategies import CATALOG, conditions, segments

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def schema() -> Any:
    text = resources.files("headrace.plan").joinpath("plan.schema.json").read_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def stays(conditions: st.SearchStrategy[Condition]) -> st.SearchStrategy[Stay | None]:
    lengths = st.sampled_from((0, 60_000, 86_400_000))
    made = st.builds(Stay, exit_when=conditions, min_dwell=lengths, cooldown=lengths)
    return st.none() | st.just(Stay(min_dwell=1_000)) | made


@given(st.lists(st.tuples(segments(), stays(conditions())), min_size=1, max_size=4))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_survives_its_text(schema: Any, rules: list[tuple[Segment, Stay | None]]) -> None:
    versions = [
        SegmentVersion(Segment(id=f"s{i}", condition=rule.condition, stay=stay), 1)
        for i, (rule, stay) in enumerate(rules)
    ]
    plan = build_plan(versions, CATALOG, MemoryRegistry(), JobParameters())
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.to_json() == plan.to_json()
    reordered = json.dumps(dict(reversed(json.loads(plan.to_json()).items())), indent=1)
    assert Plan.from_json(reordered).hash == plan.hash
    assert pickle.loads(pickle.dumps(plan)) == plan
    schema.validate(json.loads(plan.to_json()))


def test_a_plan_of_the_first_release_is_still_the_same_plan_under_the_same_name() -> None:
    text = (GOLDEN / "shop.plan.json").read_text().strip()
    catalog, *rules = (GOLDEN / "shop.yaml").read_text().split("\n---\n")
    versions = [SegmentVersion(parse_segment(rule), 1) for rule in rules]
    plan = build_plan(versions, parse_catalog(catalog), MemoryRegistry(), JobParameters())
    assert Plan.from_json(text) == plan
    assert plan.to_json() == text


@pytest.mark.parametrize("part", ["slots", "programs", "job", "catalog"])
def test_the_schema_refuses_a_plan_with_a_part_gone_or_added(schema: Any, part: str) -> None:
    plan = build_plan([], CATALOG, MemoryRegistry(), JobParameters())
    whole = json.loads(plan.to_json())
    schema.validate(whole)
    assert not schema.is_valid({key: value for key, value in whole.items() if key != part})
    assert not schema.is_valid({**whole, "other": 1})


def test_another_format_is_refused() -> None:
    with pytest.raises(InternalError, match="not a plan"):
        Plan.from_json("{}")
