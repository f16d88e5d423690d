"""Catalogs proposed from samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.jobs.shop import HABITS, Shop
from headrace.rules.catalog import Field
from headrace.rules.inference import infer
from headrace.rules.printer import print_catalog
from headrace.rules.reference_facts import judge, parse
from headrace.rules.yaml import parse_catalog

START = 1_790_000_000_000
ROOT = Path(__file__).parents[2]


def bought(*values: Any) -> list[bytes]:
    return [
        orjson.dumps(
            {
                "event_id": str(number), "user_id": "ann", "type": "purchase", "ts": START,
                "properties": {"x": value},
            }
        )
        for number, value in enumerate(values)
    ]  # fmt: skip


def test_the_shop_of_the_demo_gives_its_own_part_of_the_catalog_back() -> None:
    written = parse_catalog((ROOT / "rules" / "catalog.yaml").read_text())
    messages = Shop(seed=3, users=300, start=START).history(5_000)
    found = infer(message.value for message in messages if message.kind != "garbage")
    assert not found.doubts
    assert {
        name: {key: field.type for key, field in event.properties.items()}
        for name, event in found.catalog.events.items()
    } == {
        name: {key: field.type for key, field in event.properties.items()}
        for name, event in written.events.items()
        if name in HABITS
    }
    types = {name: field.type for name, field in written.traits.items() if name != "trial_ends"}
    assert {name: field.type for name, field in found.catalog.traits.items()} == types
    assert found.catalog.traits["email"].pii


@pytest.mark.parametrize(
    ("values", "expected", "doubts"),
    [
        pytest.param([1, 2], "integer", 0, id="whole numbers"),
        pytest.param([1, 2.5], "decimal", 0, id="one with a point"),
        pytest.param([START, START + 1], "timestamp", 0, id="milliseconds of our time"),
        pytest.param([START, 3], "integer", 0, id="some too small for that"),
        pytest.param(["2026-01-01", "2026-01-01T00:00:00Z"], "timestamp", 0, id="instants"),
        pytest.param(["2026-01-01", "soon"], "string", 0, id="a text among them"),
        pytest.param([True, None], "boolean", 0, id="nulls say nothing"),
        pytest.param([["a"], []], "array<string>", 0, id="lists of texts"),
        pytest.param([1, 2, "three"], "integer", 1, id="most decide"),
        pytest.param([None, {"a": 1}], "string", 1, id="nothing we know"),
    ],
)
def test_types(values: list[Any], expected: str, doubts: int) -> None:
    found = infer(bought(*values))
    assert found.catalog.events["purchase"].properties == {"x": Field(expected)}  # type: ignore[arg-type]
    assert len(found.doubts) == doubts


plain = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text("ab-", max_size=3),
    st.lists(st.text("ab", max_size=2), max_size=2),
)  # fmt: skip


@given(st.lists(plain, min_size=1, max_size=6))
@settings(deadline=None)
def test_without_a_doubt_every_line_of_the_sample_passes(values: list[Any]) -> None:
    lines = bought(*values)
    found = infer(lines)
    catalog = parse_catalog(print_catalog(found.catalog))
    assert catalog == found.catalog
    if not found.doubts:
        for line in lines:
            judge(parse(line), catalog)


def test_what_is_no_event_is_passed_over_and_told() -> None:
    messages = list(Shop(seed=3, users=300, start=START).history(2_000))
    bad: dict[int, str] = {}
    infer((message.value for message in messages), bad.__setitem__)
    assert "not-json" in bad.values()
    assert {messages[number - 1].kind for number in bad} == {"garbage"}
