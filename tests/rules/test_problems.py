"""What an author is told, word by word: tests/golden/problems/NAME.yaml beside NAME.txt.

`UPDATE_GOLDEN=1 pytest tests/rules/test_problems.py` rewrites the texts; read the diff as code.
"""

from __future__ import annotations

import contextlib
import os
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import Problem, RuleError
from headrace.rules.checks import check_segment
from headrace.rules.yaml import (
    parse_catalog,
    parse_segment,
    print_segment,
    read_catalog,
    read_segment,
)
from strategies import CATALOG, segments

GOLDEN = Path(__file__).parents[1] / "golden" / "problems"


def problems(text: str, file: str) -> tuple[Problem, ...]:
    if "kind: Catalog" in text:
        return read_catalog(text, file).problems
    read = read_segment(text, file)
    found = list(read.problems)
    if read.segment is not None:
        found += check_segment(read.segment, CATALOG, read.places)
    return tuple(sorted(found, key=lambda problem: problem.place))


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.yaml")))
def test_every_problem_is_told_with_place_and_nearest_name(name: str) -> None:
    source, expected = GOLDEN / f"{name}.yaml", GOLDEN / f"{name}.txt"
    found = problems(source.read_text("utf-8"), source.name)
    text = "".join(f"{problem}\n" for problem in found)
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(text, "utf-8")
    assert text == expected.read_text("utf-8")


def segment_text(match: str) -> str:
    head = "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: x}\nspec:\n  match: "
    return head + match + "\n"


def codes(match: str) -> list[str]:
    return [problem.code for problem in problems(segment_text(match), "x.yaml")]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param("{not: " * 64 + "{did: login}" + "}" * 64, [], id="64 levels are fine"),
        pytest.param("{not: " * 65 + "{did: login}" + "}" * 65, ["HR116"], id="65 are not"),
        pytest.param("[" * 5_000, ["HR106"], id="brackets without end"),
        pytest.param("{any: [" + "{did: login}, " * 499 + "]}", [], id="500 nodes are fine"),
        pytest.param("{any: [" + "{did: login}, " * 500 + "]}", ["HR116"], id="501 are not"),
        pytest.param(
            "{did: purchase, where: {" + ", ".join(f"p{i}: 1" for i in range(600)) + "}}",
            ["HR116"],
            id="nodes of a filter count",
        ),
        pytest.param("{trait: age, gt: 1e999999}", ["HR113"], id="a number like a bomb"),
        pytest.param("{trait: age, gt: .inf}", ["HR206"], id="infinity is a text"),
        pytest.param("{trait: country, eq: 007}", [], id="leading zeros make a text"),
        pytest.param("{trait: country, eq: NO}", [], id="Norway is a country"),
        pytest.param("{trait: country, eq: yes}", [], id="yes is a text"),
        pytest.param("{trait: country, eq: true}", ["HR206"], id="true is a boolean"),
        pytest.param("{trait: consent, eq: True}", ["HR206"], id="True is a text"),
        pytest.param("{trait: country, eq: null}", ["HR113"], id="null is no constant"),
        pytest.param("{trait: country, matches: '" + "a" * 257 + "'}", ["HR208"], id="long regex"),
        pytest.param("{trait: country, matches: '(?=a)'}", ["HR208"], id="lookahead is not RE2"),
        pytest.param("{did: login, within: 1096 days}", ["HR302"], id="longer than retention"),
        pytest.param("{did: login, within: 1095 days}", [], id="as long as retention"),
        pytest.param("{did: login, within: 99999999 weeks}", ["HR112"], id="longer than a century"),
        pytest.param("{event: login, count: true, lt: 0}", ["HR303"], id="a count below zero"),
        pytest.param("{event: login, count: true, gt: 2.5}", [], id="a count above two and a half"),
        pytest.param("{trait: age, eq: 9007199254740992}", [], id="the largest integer"),
        pytest.param("{trait: age, eq: 9007199254740993}", ["HR207"], id="beyond the largest"),
        pytest.param("{trait: score, eq: 99999999999.9999}", [], id="the largest decimal"),
        pytest.param("{trait: score, eq: 100000000000}", ["HR207"], id="beyond the decimals"),
    ],
)
def test_limits_and_readings(match: str, expected: list[str]) -> None:
    assert codes(match) == expected


def test_warnings_do_not_stop_anything() -> None:
    (found,) = problems(segment_text("{did: login, within: 2000 days}"), "x.yaml")
    assert found.severity == "warning"


ALPHABET = "{}[]:,-#&*!|>'\"%@`?\n\t \\~<=." + string.ascii_letters + "0é\ud800\x00\x85\ufeff"


@settings(max_examples=200, deadline=None)
@given(st.text(ALPHABET, max_size=60))
def test_garbage_is_a_rule_error_and_nothing_else(text: str) -> None:
    for parse in (parse_segment, parse_catalog):
        with pytest.raises(RuleError) as caught:
            parse(text)
        assert caught.value.problems


@settings(max_examples=100, deadline=None)
@given(segments(), st.data())
def test_a_broken_rule_is_a_rule_error_or_a_rule(segment: object, data: st.DataObject) -> None:
    text = print_segment(segment)  # type: ignore[arg-type]
    cut = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 8))
    put = data.draw(st.text(ALPHABET, max_size=4))
    with contextlib.suppress(RuleError):
        parse_segment(text[:cut] + put + text[cut + gone :])


@settings(max_examples=100, deadline=None)
@given(segments())
def test_generated_rules_have_no_errors(segment: object) -> None:
    read = read_segment(print_segment(segment))  # type: ignore[arg-type]
    assert read.segment is not None and not read.problems
    found = check_segment(read.segment, CATALOG, read.places)
    assert not [problem for problem in found if problem.severity == "error"]
