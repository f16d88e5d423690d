"""Where a stream begins, given what Delta and Spark's checkpoint each remember."""

from __future__ import annotations

import pytest

from headrace.plan.build import build_plan
from headrace.plan.model import JobParameters
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import Catalog
from headrace.rules.streams import parse_stream
from headrace.spark.header import GENERATION, Handover, Header, Preparation
from headrace.spark.offsets import PlannedBatch, parse_offsets
from headrace.spark.opening import opening, reachable
from headrace.spark.start import Start, decide_start

AT_7 = {"events.v1": {0: 70, 1: 7}}
AT_8 = {"events.v1": {0: 80, 1: 8}}


def header(batch_id: int, ends: dict[str, dict[int, int]] = AT_7, generation: int = 0) -> Header:
    return Header(n=generation * GENERATION + batch_id, now=1_000, plan="p", ends=ends)


@pytest.mark.parametrize(
    ("parsed", "folded", "planned", "committed", "committed_ends", "replay_ends", "belongs"),
    [
        pytest.param(None, None, None, None, {}, {}, True, id="nothing anywhere: a first start"),
        pytest.param(None, None, 3, None, {}, AT_7, True, id="planned, nothing committed yet"),
        pytest.param(None, None, 3, 3, AT_7, {}, False, id="tables lost, checkpoint kept"),
        pytest.param(
            header(7), header(7), None, None, {}, {}, False, id="checkpoint lost, tables kept"
        ),
        pytest.param(header(7), header(7), 7, 7, AT_7, AT_7, True, id="clean stop after batch 7"),
        pytest.param(
            header(7), header(7), 9, 9, AT_7, AT_7, True, id="quiet batches since commit nothing"
        ),
        pytest.param(
            header(8, AT_8), header(7), 8, 7, AT_7, AT_8, True, id="died between the two commits"
        ),
        pytest.param(
            header(8, AT_8), header(8, AT_8), 8, 7, AT_7, AT_8, True, id="died before publishing"
        ),
        pytest.param(
            header(8, AT_7), header(7), 8, 7, AT_7, AT_8, False, id="batch to replay ends elsewhere"
        ),
        pytest.param(header(9), header(9), 7, 7, AT_7, AT_7, False, id="older checkpoint restored"),
        pytest.param(header(7), header(7), 8, 8, AT_8, AT_8, False, id="older table restored"),
        pytest.param(
            header(8, AT_8), header(7), 8, 8, AT_8, AT_8, False, id="older profiles restored"
        ),
        pytest.param(header(8, AT_8), None, 8, 8, AT_8, AT_8, False, id="profiles lost"),
    ],
)
def test_a_checkpoint_belongs_to_the_tables_or_a_new_generation_begins(
    parsed, folded, planned, committed, committed_ends, replay_ends, belongs
):
    answer, reason = decide_start(
        parsed=parsed,
        folded=folded,
        planned=planned,
        committed=committed,
        committed_ends=committed_ends,
        replay_ends=replay_ends,
    )
    assert answer is belongs, reason


def test_a_silent_batch_that_died_amid_joins_is_replayed():
    answer, reason = decide_start(
        parsed=header(5),
        folded=header(5),
        linked=header(8),
        planned=8,
        committed=7,
        committed_ends=AT_7,
        replay_ends=AT_7,
    )
    assert (answer, reason) == (True, "replay")


def test_notices_that_were_read_leave_no_trace_in_the_tables():
    told = {**AT_7, "control.v1": {0: 3}}
    answer, _ = decide_start(
        parsed=header(7, {**AT_7, "control.v1": {0: 2}}),
        folded=header(7, {**AT_7, "control.v1": {0: 2}}),
        planned=9,
        committed=9,
        committed_ends=told,
        replay_ends=told,
        control="control.v1",
    )
    assert answer


def test_a_header_survives_the_commit_it_is_kept_in():
    full = Header(
        n=3 * GENERATION + 12,
        now=1_790_000_000_000,
        plan="abc",
        starts=AT_7,
        ends=AT_8,
        handover=Handover(replaces="old", staged_before=11),
        preparing=Preparation("def", since=9, until=1_789_999_999_000),
    )
    assert Header.from_json(full.to_json()) == full
    assert (full.generation, full.batch_id) == (3, 12)


def test_sparks_offset_log_gives_the_instant_and_the_kafka_offsets_of_every_source():
    text = "\n".join(
        (
            "v1",
            '{"batchWatermarkMs":0,"batchTimestampMs":1790000000123,"conf":{}}',
            '{"events.v1":{"0":12,"1":7}}',
            '{"control.v1":{"0":3}}',
            "41",
        )
    )
    assert parse_offsets(5, text) == PlannedBatch(
        5, 1_790_000_000_123, {"events.v1": {0: 12, 1: 7}, "control.v1": {0: 3}}, beats=41
    )


@pytest.mark.parametrize(
    ("end", "held", "expected"),
    [
        pytest.param(70, (0, 90), 70, id="still there"),
        pytest.param(70, (70, 70), 70, id="all read, all deleted"),
        pytest.param(70, (80, 90), 80, id="aged out"),
        pytest.param(70, (0, 7), 0, id="the topic was made again"),
        pytest.param(None, (3, 7), 3, id="a partition never read"),
    ],
)
def test_loss_once_accepted_is_passed_over_and_nothing_else(end, held, expected):
    assert reachable(end, *held) == expected


OURS, CONTROL = "events.v1", "control.v1"
SHOP = (
    "apiVersion: headrace/v1\nkind: Stream\nmetadata: {id: shop}\n"
    "spec: {topic: shop, begin: %s, map: {type: seen, user_id: $.u, ts: $.t}}\n"
)


def plan_with(*streams):
    return build_plan((), Catalog(), MemoryRegistry(), JobParameters(), map(parse_stream, streams))


def opened(start, plan, held, **more):
    return opening(start, plan, ours=OURS, control=CONTROL, held=held.__getitem__, **more)


HELD = {OURS: {0: (2, 9)}, CONTROL: {0: (0, 1)}, "shop": {0: (3, 8), 1: (0, 4)}}


def test_what_goes_on_reads_what_it_has_read_whatever_the_plan_says_by_now():
    newest = Header(5, 0, "", ends={OURS: {0: 7}, CONTROL: {0: 1}}, parked={"shop": {0: 5}})
    found = opened(Start(0, newest, False, ""), plan_with(SHOP % "latest"), {})
    assert (found.events, found.starting, found.parked) == ((OURS,), None, {"shop": {0: 5}})


@pytest.mark.parametrize(("begin", "at"), [("earliest", {0: 3, 1: 0}), ("latest", {0: 8, 1: 4})])
def test_a_stream_begins_where_it_says(begin, at):
    newest = Header(5, 0, "", ends={OURS: {0: 7}, CONTROL: {0: 1}})
    for start in (Start(1, newest, True, ""), Start(0, None, False, "")):
        found = opened(start, plan_with(SHOP % begin), HELD)
        assert found.events == (OURS, "shop") and found.starting["shop"] == at
        assert found.starting[OURS] == ({0: 7} if start.newest else {0: 2})


def test_a_stream_goes_on_where_it_was_left_and_is_left_where_it_was_read():
    ends = {OURS: {0: 7}, CONTROL: {0: 1}, "shop": {0: 5}}
    left = opened(Start(1, Header(5, 0, "", ends=ends), True, ""), plan_with(), HELD)
    assert left.events == (OURS,) and left.parked == {"shop": {0: 5}}
    newest = Header(6, 0, "", ends={OURS: {0: 8}, CONTROL: {0: 1}}, parked=left.parked)
    back = opened(Start(2, newest, True, ""), plan_with(SHOP % "latest"), HELD)
    # A partition that came later is read from its beginning.
    assert back.starting["shop"] == {0: 5, 1: 0} and back.parked == {}
    assert back.starting[OURS] == {0: 8}


def test_loss_once_accepted_is_of_every_topic():
    newest = Header(5, 0, "", ends={OURS: {0: 1}, CONTROL: {0: 1}, "shop": {0: 1}})
    found = opened(Start(1, newest, True, ""), plan_with(SHOP % "earliest"), HELD)
    assert found.starting == {OURS: {0: 1}, CONTROL: {0: 1}, "shop": {0: 1, 1: 0}}
    found = opened(
        Start(1, newest, True, ""), plan_with(SHOP % "earliest"), HELD, accepts_loss=True
    )
    assert found.starting == {OURS: {0: 2}, CONTROL: {0: 1}, "shop": {0: 3, 1: 0}}
