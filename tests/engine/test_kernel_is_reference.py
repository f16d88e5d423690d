"""The kernel says what the reference says: on files, and as a stream cut and shuffled at random."""

from __future__ import annotations

from random import Random

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR
from headrace.engine.evaluate import evaluate
from headrace.engine.history import stage
from headrace.engine.standing import Begun
from headrace.plan.diff import bridge, diff
from headrace.plan.registry import MemoryRegistry
from headrace.rules.model import Segment
from headrace.rules.reference import reference_members
from headrace.rules.yaml import parse_segment
from properties import many, quick
from rule_folders import segment
from strategies import AT, CATALOG, Case, cases, inlined
from streams import (
    Stream,
    cut,
    denses,
    facts_of,
    histories,
    in_order,
    instants,
    pass_time,
    plan_of,
    randoms,
    shuffled,
    touch,
)


@many
@given(histories())
def test_files_give_the_same_members_and_the_same_bad_lines(case: Case) -> None:
    bad: list[tuple[int, str]] = []
    expected_bad: list[tuple[int, str]] = []
    found = evaluate(
        case.lines, case.segments, CATALOG, case.at, on_bad_line=lambda *one: bad.append(one)
    )
    expected = reference_members(
        case.lines,
        case.segments,
        CATALOG,
        case.at,
        on_bad_line=lambda *one: expected_bad.append(one),
    )
    assert found == expected
    assert bad == expected_bad


@many
@given(histories(), st.integers(1, 6), randoms())
def test_any_cut_of_the_same_facts_ends_in_the_reference(
    case: Case, count: int, random: Random
) -> None:
    expected = reference_members(case.lines, case.segments, CATALOG, case.at)
    facts = facts_of(case.lines, CATALOG, case.at)
    stream = Stream(plan_of(case.segments, CATALOG))
    nows = instants(case, count, random)
    for batch, now in zip(cut(facts, count, random), nows, strict=True):
        again = cut(pa.concat_tables([stream.history, batch]), 2, random)[0]
        again = again.filter(pa.compute.is_valid(again["event_id"]))
        stream.batch(pa.concat_tables([batch, again]), now, full=random.random() < 0.2)
        if random.random() < 0.3:
            stream.compact(now)
    pass_time(stream, nows[-1], case, random)
    assert stream.members() == expected
    assert sorted(stream.replayed) == expected
    assert sum(stream.counted.values()) == len(stream.history)


@quick
@given(denses(), randoms())
def test_facts_and_due_instants_are_all_that_needs_looking_at(case: Case, random: Random) -> None:
    facts = facts_of(case.lines, CATALOG, case.at)
    stream = Stream(plan_of(case.segments, CATALOG))
    for instant in [*instants(case, 4, random), case.at]:
        in_order(stream, facts, instant)
        assert stream.members() == reference_members(case.lines, case.segments, CATALOG, instant)


@many
@given(histories(), randoms())
def test_state_does_not_depend_on_how_facts_were_cut(case: Case, random: Random) -> None:
    facts = facts_of(case.lines, CATALOG, case.at)
    users = sorted(set(facts["user_id"].to_pylist()))
    states = []
    for count in (1, random.randint(2, 5)):
        stream = Stream(plan_of(case.segments, CATALOG))
        for batch, now in zip(
            cut(facts, count, random), instants(case, count, random), strict=True
        ):
            stream.batch(batch, now)
        stream.batch(touch(users, case.at), case.at)
        states.append(stream.state())
    assert states[0] == states[1]


@many
@given(histories(), st.integers(0, 3), randoms())
def test_a_plan_that_came_later_with_staged_history_is_as_if_it_always_was(
    case: Case, early: int, random: Random
) -> None:
    expected = reference_members(case.lines, case.segments, CATALOG, case.at)
    facts = facts_of(case.lines, CATALOG, case.at)
    registry = MemoryRegistry()
    # Before: some segments missing, the first one meaning something else.
    first = case.segments[:early]
    if first and random.random() < 0.5:
        other = inlined(case.segments[-1].condition, case.segments)
        first = (type(first[0])(id=first[0].id, condition=other), *first[1:])
    extra = type(case.segments[0])(id="old", condition=case.segments[0].condition)
    old = plan_of([*first, extra], CATALOG, registry, version=1)
    new = plan_of(case.segments, CATALOG, registry, version=2)
    nows = instants(case, 7, random)
    batches = cut(facts, 7, random)
    stream = Stream(old)
    stream.batch(batches[0], nows[0])
    stream.batch(batches[1], nows[1])
    before, since = stream.history, nows[1]
    stream.batch(batches[2], nows[2], plan=bridge(old, new))
    change = diff(old, new)
    staged = stage(
        shuffled(before, random), plan=new, slots=frozenset(change.added_slots), now=since, n=2
    )
    arrived = batches[3] if random.random() < 0.5 else facts.slice(0, 0)
    stream.batch(arrived, nows[3], plan=new, diff=change, staged=staged)
    if not len(arrived):
        stream.batch(batches[3], nows[3])
    for batch, now in zip(batches[4:], nows[4:], strict=True):
        stream.batch(batch, now)
    pass_time(stream, nows[-1], case, random)
    assert stream.members() == expected
    assert sorted(stream.replayed) == expected


@many
@given(histories(), randoms(), st.booleans())
def test_a_plan_that_comes_back_counts_nothing_twice(
    case: Case, random: Random, was_handed_over: bool
) -> None:
    facts = facts_of(case.lines, CATALOG, case.at)
    registry = MemoryRegistry()
    old = plan_of(case.segments[:0], CATALOG, registry, version=1)
    new = plan_of(case.segments, CATALOG, registry, version=2)
    nows = instants(case, 6, random)
    batches = cut(facts, 6, random)
    if random.random() < 0.7:  # nobody's row is written anew while it is away
        nothing = facts.slice(0, 0)
        batches[1:4] = [nothing, nothing, pa.concat_tables(batches[1:4])]
    # It ran, or was only prepared for, and was taken back.
    stream = Stream(new if was_handed_over else bridge(old, new))
    stream.batch(batches[0], nows[0])
    leaving = diff(new, old) if was_handed_over else None
    stream.batch(batches[1], nows[1], plan=old, diff=leaving)
    stream.batch(batches[2], nows[2])
    added = diff(old, new)
    begun = Begun(frozenset(added.added_slots), stream.n + 1)
    staged = stage(stream.history, plan=new, slots=begun.slots, now=nows[2], n=begun.since)
    stream.batch(batches[3], nows[3], plan=bridge(old, new), begun=begun)
    stream.batch(batches[4], nows[4], plan=new, diff=added, staged=staged, begun=begun)
    stream.batch(batches[5], nows[5])
    straight = Stream(new)
    straight.batch(facts, nows[5])
    users = sorted(set(facts["user_id"].to_pylist()))
    for one in (stream, straight):
        one.batch(touch(users, case.at), case.at)
    assert stream.state() == straight.state()


@quick
@given(cases())
def test_sharing_changes_nothing(case: Case) -> None:
    together = evaluate(case.lines, case.segments, CATALOG, case.at)
    alone = [
        pair
        for one in case.segments
        for pair in evaluate(
            case.lines,
            [Segment(id=one.id, condition=inlined(one.condition, case.segments))],
            CATALOG,
            case.at,
        )
    ]
    assert together == sorted(alone)


@pytest.mark.parametrize("at", [AT])
def test_nothing_is_nobody(at: int) -> None:
    assert evaluate([], [], CATALOG, at) == []


def test_the_last_event_of_a_day_that_leaves_its_window_takes_the_day_along() -> None:
    rule = "{event: purchase, days_active: true, within: 7 days, gte: 2}"
    stream = Stream(plan_of([parse_segment(segment("active", rule))], CATALOG))
    midnight = AT // DAY * DAY
    stamps = midnight + HOUR, midnight + 5 * HOUR + 1, midnight + 30 * HOUR
    lines = [
        {"event_id": str(ts), "user_id": "ann", "type": "purchase", "ts": ts, "properties": {}}
        for ts in stamps
    ]
    happened = facts_of([orjson.dumps(line) for line in lines], CATALOG, stamps[-1])
    (due,) = stream.batch(happened, stamps[-1])["next_due"].to_pylist()
    assert stream.members() == [("active", "ann")]
    assert due == midnight + 6 * HOUR + 7 * DAY
    stream.batch(happened.slice(0, 0), due)
    assert stream.members() == []
    assert stream.messages[-1]["changes"][0]["reason"] == "time"
