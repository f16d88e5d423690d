"""Segments inside segments, and samples: what they mean, and what is wrong with some."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from headrace.rules.folder import load_rules
from headrace.rules.model import AllOf, InSegment, Not, Sample, Segment
from headrace.rules.reference import reference_members
from headrace.rules.yaml import parse_segment
from rule_folders import write_rules
from strategies import AT, CATALOG

HEADER = "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: ours}\nspec:\n  match: "
PLAIN = "kind: Catalog\napiVersion: headrace/v1\nevents: {buy: {}}\n"


def users(count: int) -> list[bytes]:
    return [
        orjson.dumps({"type": "traits", "user_id": f"u{n}", "ts": AT, "traits": {"age": n}})
        for n in range(count)
    ]


def test_both_forms_are_read() -> None:
    text = HEADER + "{all: [{segment: vip}, {not: {sample: {percent: 12.5, salt: spring}}}]}"
    condition = AllOf((InSegment("vip"), Not(Sample(Decimal("12.5"), "spring"))))
    assert parse_segment(text, "ours.yaml").condition == condition


@pytest.mark.parametrize("percent", ["0", "-1", "101", "0.001", "ten", "true", "[10]", "null"])
def test_a_percent_is_a_part_of_a_hundred(percent: str, tmp_path: Path) -> None:
    rules = load_rules(
        write_rules(tmp_path, {"ours": f"{{sample: {{percent: {percent}}}}}"}, PLAIN)
    )
    assert [problem.code for problem in rules.errors] in (["HR119"], ["HR113"])
    assert rules.errors[0].place.line


def test_a_sample_is_stable_nested_and_about_as_large_as_it_says() -> None:
    def taken(percent: str, salt: str = "spring") -> set[str]:
        rule = Segment(id="s", condition=Sample(Decimal(percent), salt))
        return {user for _, user in reference_members(lines, [rule], CATALOG, AT)}

    lines = users(4_000)
    tenth, fifth = taken("10"), taken("20")
    assert abs(len(tenth) - 400) < 80 and abs(len(fifth) - 800) < 110
    assert tenth < fifth and taken("100") == {f"u{n}" for n in range(4_000)}
    other = taken("10", "autumn")
    assert len(tenth & other) < 100, "samples of two salts have little to do with each other"
    # As the language defines it: xxh64("spring:u7") is 812972699373344746.
    assert ("u7" in taken("47.47")) and ("u7" not in taken("47.46"))


def test_a_reference_to_nothing_names_the_nearest(tmp_path: Path) -> None:
    texts = {"vips": "{did: buy}", "ours": "{all: [{did: buy}, {none: [{segment: vip}]}]}"}
    (problem,) = load_rules(write_rules(tmp_path, texts, PLAIN)).errors
    assert (problem.code, problem.message) == ("HR306", "unknown segment 'vip'")
    assert problem.hint == "did you mean 'vips'?" and problem.place.line > 1


def test_every_segment_of_a_cycle_is_named_with_the_way_around(tmp_path: Path) -> None:
    texts = {
        "a": "{not: {segment: b}}",
        "b": "{any: [{did: buy}, {segment: c}]}",
        "c": "{segment: a}",
        "d": "{segment: a}",
        "e": "{segment: e}",
    }
    found = load_rules(write_rules(tmp_path, texts, PLAIN)).errors
    assert {problem.code for problem in found} == {"HR307"}
    assert sorted(problem.message for problem in found) == [
        "'a' refers to itself: a -> b -> c -> a",
        "'b' refers to itself: b -> c -> a -> b",
        "'c' refers to itself: c -> a -> b -> c",
        "'e' refers to itself: e -> e",
    ]
