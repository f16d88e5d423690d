"""Files of tests: how they read, and that what is said about time is true."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR, format_instant
from headrace.rules.model import Compare, Stay, Trait
from headrace.rules.reference import reference_members
from headrace.rules.rehearsal import failed_tests
from headrace.rules.rule_tests import check_rule_test, read_rule_test
from headrace.rules.source import Rules
from headrace.rules.trials import Expectation, Trial, TrialEvent
from headrace.rules.turns import next_turn
from headrace.rules.yaml import parse_segment
from properties import looking
from related import CATALOG as FEW
from related import related_case
from rule_folders import segment
from strategies import AT, CATALOG

HEAD = "apiVersion: headrace/v1\nkind: RuleTest\nmetadata: {name: t}\n"
EVENTS = "events: [{user: ann, ts: 5, type: login}]"


def test_reading_a_file_of_tests() -> None:
    body = (
        "segments: [a, b]\ntests:\n"
        "  - name: listed\n    lists: {vip: [ann, bob]}\n"
        "    expect: [{user: ann, at: 9, member: true},"
        " {user: bob, at: 9, segment: c, member: false}]\n"
        f"  - {{name: seen, {EVENTS}, expect: [{{user: ann, at: 9, member: true}}]}}\n"
    )
    read = read_rule_test(HEAD + body)
    assert not read.problems and read.test is not None
    ann = Expectation(user="ann", at=9, member=True)
    both = tuple(
        Expectation(user=ann.user, at=ann.at, member=ann.member, segment=name) for name in "ab"
    )
    bob = Expectation(user="bob", at=9, member=False, segment="c")
    assert read.test.trials == (
        Trial(name="listed", expect=(*both, bob), lists=(("vip", ("ann", "bob")),)),
        Trial(name="seen", events=(TrialEvent(user="ann", ts=5, type="login"),), expect=both),
    )
    assert read.test.places.of(("tests", 0, 1)).line == 8


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(HEAD, "HR109", id="no tests"),
        pytest.param(HEAD + "tests: []\nextra: 1\n", "HR108", id="an unknown key"),
        pytest.param(HEAD.replace("RuleTest", "Segment") + "tests: []\n", "HR110", id="the kind"),
        pytest.param(HEAD + "tests: 3\n", "HR107", id="tests that are none"),
        pytest.param(
            HEAD + f"tests: [{{name: x, {EVENTS}, expect: [{{user: u, at: 9, member: true}}]}}]",
            "HR109",
            id="about no segment",
        ),
        pytest.param(
            HEAD + "segments: [a]\ntests: [{name: x, expect: [{user: u, at: 9, member: true}]}]",
            "HR109",
            id="without a history",
        ),
        pytest.param(HEAD + f"tests: [{{name: x, {EVENTS}, expect: []}}]", "HR118", id="nought"),
    ],
)
def test_problems(text: str, code: str) -> None:
    assert [problem.code for problem in read_rule_test(text).problems] == [code]


def test_names_are_checked() -> None:
    text = HEAD + (
        "segments: [a]\ntests:\n  - name: x\n    lists: {vip: [lea]}\n"
        "    events: [{user: ann, ts: 5, type: logn}]\n"
        "    expect: [{user: lea, at: 9, member: true}, {user: an, at: 9, member: true},"
        " {user: ann, at: 9, segment: ab, member: true}]\n"
    )
    read = read_rule_test(text, "t.yaml")
    assert read.test is not None
    assert [str(problem) for problem in check_rule_test(read.test, CATALOG, ["a"])] == [
        "t.yaml:8:14: unknown event 'logn' (did you mean 'login'?) [HR201]",
        "t.yaml:9:48: test 'x': nothing happens to user 'an' (did you mean 'ann'?) [HR305]",
        "t.yaml:9:81: a test of an unknown segment 'ab' (did you mean 'a'?) [HR308]",
    ]


def spender(expected: str) -> Rules:
    text = segment("spender", "{list: vip}") + (
        f"tests: [{{name: bought, {EVENTS}, expect: [{{user: ann, at: 9, member: {expected}}}]}}]"
    )
    test = read_rule_test(
        HEAD + "segments: [spender]\ntests: [{name: listed, lists: {vip: [ann]}, "
        "expect: [{user: ann, at: 9, member: true}]}]\n"
    ).test
    assert test is not None
    return Rules(CATALOG, (parse_segment(text),), tests=(test,))


def test_who_is_on_a_list_is_known() -> None:
    assert failed_tests(spender("false")) == ()


def test_an_expectation_that_does_not_hold_is_an_error() -> None:
    (problem,) = failed_tests(spender("true"))
    assert (problem.code, problem.severity) == ("HR320", "error")
    assert problem.message == "spender: bought: ann is not a member at 1970-01-01T00:00:00.009Z"


STAYS = (
    Stay(min_dwell=DAY),
    Stay(cooldown=2 * DAY),
    Stay(min_dwell=HOUR, cooldown=DAY, exit_when=Compare(Trait("age"), "gte", Decimal(2))),
)


@looking(20)
@given(st.integers(0, 1 << 40), st.booleans())
def test_nothing_changes_before_the_next_turn(seed: int, stays: bool) -> None:
    random = Random(seed)
    case = related_case(random, size=2)
    rules = [
        replace(one, stay=random.choice((None, *STAYS))) if stays else one for one in case.segments
    ]
    members = reference_members(case.lines, rules, FEW, AT)
    for one in rules:
        for user in ("u1", "u2"):
            member = (one.id, user)
            turn = next_turn(case.lines, rules, FEW, AT, member)
            later = [AT + random.randrange(45 * DAY) // HOUR * HOUR for _ in range(12)]
            later += [AT + random.randrange(3 * DAY) + 1 for _ in range(6)]
            if turn is not None:
                after = reference_members(case.lines, rules, FEW, turn)
                assert (member in after) is not (member in members)
                later += [turn - 1, turn - HOUR]
            for at in later:
                if at > AT and (turn is None or at < turn):
                    then = reference_members(case.lines, rules, FEW, at)
                    assert (member in then) is (member in members), format_instant(at)
