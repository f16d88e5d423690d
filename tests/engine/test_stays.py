"""Hysteresis: files, and a stream that sees everything at once, walk the same path."""

from __future__ import annotations

import dataclasses
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR, MINUTE
from headrace.engine.evaluate import evaluate
from headrace.engine.parity import audited
from headrace.plan.diff import diff
from headrace.plan.registry import MemoryRegistry
from headrace.rules.model import AllOf, AnyOf, Condition, InSegment, Not, Segment, Stay
from headrace.rules.reference import reference_members
from headrace.rules.yaml import parse_segment
from properties import looking, quick
from strategies import AT, CATALOG, Case
from streams import Stream, dense, facts_of, in_order, plan_of, touch

LENGTHS = (0, MINUTE, HOUR, DAY, 7 * DAY)


def with_stays(seed: int) -> Case:
    random = Random(seed)
    case = dense(random)
    others = [one.condition for one in dense(random).segments if stands_alone(one.condition)]
    segments = []
    for segment in case.segments:
        if random.random() < 0.7:
            leaving = random.choice([None, *others])
            lengths = {"min_dwell": random.choice(LENGTHS), "cooldown": random.choice(LENGTHS)}
            segment = dataclasses.replace(segment, stay=Stay(exit_when=leaving, **lengths))
        segments.append(segment)
    return dataclasses.replace(case, segments=tuple(segments))


def stands_alone(condition: Condition) -> bool:
    match condition:
        case AllOf(parts) | AnyOf(parts):
            return all(map(stands_alone, parts))
        case Not(part):
            return stands_alone(part)
        case InSegment():
            return False
        case _:
            return True


def cases() -> st.SearchStrategy[Case]:
    return st.integers(0, 1 << 32).map(with_stays)


@quick
@given(cases())
def test_files_walk_the_path_of_the_reference(case: Case) -> None:
    found = evaluate(case.lines, case.segments, CATALOG, case.at)
    assert found == reference_members(case.lines, case.segments, CATALOG, case.at)


@looking(15)
@given(cases())
def test_a_stream_that_sees_every_instant_walks_it_too(case: Case) -> None:
    facts = facts_of(case.lines, CATALOG, case.at)
    stream = Stream(plan_of(case.segments, CATALOG))
    in_order(stream, facts, case.at)
    expected = reference_members(case.lines, case.segments, CATALOG, case.at)
    assert stream.members() == expected
    assert sorted(stream.replayed) == expected


@quick
@given(cases())
def test_an_audit_takes_stays_as_they_stand(case: Case) -> None:
    stream = Stream(plan_of(case.segments, CATALOG))
    in_order(stream, facts_of(case.lines, CATALOG, case.at), case.at)
    found = audited(stream.rows, stream.history, plan=stream.plan, now=case.at).to_pylist()
    assert [row for row in found if row["side"] != "batch"] == []
    assert sum(row["count"] for row in found) == len(stream.members())


def rule(spec: str, name: str = "s") -> Segment:
    head = f"apiVersion: headrace/v1\nkind: Segment\nmetadata: {{id: {name}}}\nspec: "
    return parse_segment(head + spec)


def bought(*ago: int) -> list[bytes]:
    lines = [
        {"event_id": f"e{one}", "user_id": "ann", "type": "purchase", "ts": AT - one}
        for one in ago
    ]  # fmt: skip
    return [json.dumps({**line, "properties": {"amount": 5}}).encode() for line in lines]


HOURLY = "did: purchase, within: 1 hour, resolution: 1 minute"
DWELL = f"{{match: {{{HOURLY}}}, stay: {{min_dwell: 1 day}}}}"
PAUSE = f"{{match: {{{HOURLY}}}, stay: {{cooldown: 1 day}}}}"
EXIT = "{event: purchase, count: true, within: 7 days, gte: 3}"
UNTIL = f"{{match: {{did: purchase}}, stay: {{exit_when: {EXIT}}}}}"


@pytest.mark.parametrize(
    ("spec", "ago", "expected"),
    [
        pytest.param(DWELL, [5 * HOUR], True, id="who entered stays for the dwell"),
        pytest.param(DWELL, [DAY - 1], True, id="to its last millisecond"),
        pytest.param(DWELL, [DAY], False, id="and leaves at its end"),
        pytest.param(DWELL, [25 * HOUR, HOUR // 2], True, id="unless the rule holds again"),
        pytest.param(PAUSE, [5 * HOUR], False, id="without a dwell the window decides"),
        pytest.param(PAUSE, [5 * HOUR, MINUTE], False, id="who left may not come back yet"),
        pytest.param(PAUSE, [2 * DAY, MINUTE], True, id="but after the cooldown"),
        pytest.param(UNTIL, [DAY], True, id="in until the exit holds"),
        pytest.param(UNTIL, [1, 2, 3], False, id="out when it does"),
        pytest.param(UNTIL, [10 * DAY, 10 * DAY + 1, 10 * DAY + 2], True, id="in again after it"),
    ],
)
def test_what_staying_means(spec: str, ago: list[int], expected: bool) -> None:
    members = reference_members(bought(*ago), [rule(spec)], CATALOG, AT)
    assert members == ([("s", "ann")] if expected else [])
    assert evaluate(bought(*ago), [rule(spec)], CATALOG, AT) == members


def test_a_segment_that_refers_to_one_with_a_stay_means_its_members() -> None:
    rules = [rule(DWELL), rule("{match: {not: {segment: s}}}", "t")]
    lines = bought(5 * HOUR)
    assert evaluate(lines, rules, CATALOG, AT) == [("s", "ann")]
    stream = Stream(plan_of(rules, CATALOG))
    in_order(stream, facts_of(lines, CATALOG, AT), AT + 2 * DAY)
    assert stream.members() == [("t", "ann")]
    ways = [
        (change["segment"], change["change"], change["effective_at"] - AT)
        for message in stream.messages
        for change in message["changes"]
    ]
    left = DAY - 5 * HOUR
    assert ways == [("s", "enter", -5 * HOUR), ("s", "exit", left), ("t", "enter", left)]


def test_a_stay_that_comes_back_begins_with_nobody() -> None:
    registry = MemoryRegistry()
    none, some = (plan_of(rules, CATALOG, registry) for rules in ([], [rule(DWELL)]))
    facts = facts_of(bought(5 * HOUR), CATALOG, AT)
    stream = Stream(some)
    in_order(stream, facts, AT)
    assert stream.members() == [("s", "ann")]
    stream.batch(facts.slice(0, 0), AT + 1, plan=none, diff=diff(some, none))
    assert stream.members() == []
    stream.batch(facts.slice(0, 0), AT + 2, plan=some, diff=diff(none, some))
    assert stream.members() == []
    stream.batch(facts.slice(0, 0), AT + 3)
    assert stream.members() == []


def test_nobody_enters_before_his_first_fact_comes_true() -> None:
    never = rule("{match: {did_not: purchase}, stay: {exit_when: {trait: country, eq: XX}}}")
    lines = bought(0)
    stream = Stream(plan_of([never], CATALOG))
    facts = facts_of(lines, CATALOG, AT)
    stream.batch(facts, AT - HOUR // 2)  # the purchase lies ahead
    stream.batch(touch(["ann"], AT), AT, full=True)
    assert stream.members() == reference_members(lines, [never], CATALOG, AT) == []
