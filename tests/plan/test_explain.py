"""Plans as people read them: tests/golden/NAME.yaml gives NAME.plan.txt.

Add a pair to add a test; `pytest --update-golden` writes the texts; read the diff as code.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.explain import explain
from headrace.plan.model import JobParameters
from headrace.plan.registry import MemoryRegistry
from headrace.plan.usage import Usage
from headrace.rules.yaml import parse_catalog, parse_segment

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.yaml")))
def test_explains(name: str, request: pytest.FixtureRequest) -> None:
    catalog, *rules = (GOLDEN / f"{name}.yaml").read_text().split("\n---\n")
    versions = [SegmentVersion(parse_segment(text), 1) for text in rules]
    plan = build_plan(versions, parse_catalog(catalog), MemoryRegistry(), JobParameters())
    golden = GOLDEN / f"{name}.plan.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(explain(plan))
    assert explain(plan) == golden.read_text()


def test_a_rule_costs_what_nobody_else_needs() -> None:
    catalog, *rules = (GOLDEN / "shop.yaml").read_text().split("\n---\n")
    versions = [SegmentVersion(parse_segment(text), 1) for text in rules]
    plans = [
        build_plan(some, parse_catalog(catalog), MemoryRegistry(), JobParameters())
        for some in (versions, versions[1:])
    ]
    alone = Usage.of(plans[0]).alone(versions[0].segment.id)
    for kind in ("slots", "measures", "predicates"):
        spared = len(getattr(plans[0], kind)) - len(getattr(plans[1], kind))
        assert len(getattr(alone, kind)) == spared
