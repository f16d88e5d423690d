"""The audit: quiet about every state the stream comes to, and never about a damaged one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY, MINUTE
from headrace.engine.parity import audited
from headrace.engine.state import STATE_SCHEMA, pack_members, pack_tiles, unpack_tiles
from headrace.rules.yaml import parse_segment
from properties import looking
from rule_folders import segment
from strategies import AT, CATALOG, Case
from streams import Stream, cut, facts_of, histories, instants, pass_time, plan_of, randoms, touch

BIG = segment("big", "{event: purchase, sum: amount, within: 30 days, gt: 10}")
LINE = b'{"event_id": "%b", "user_id": "%b", "type": "purchase", "ts": %d%b}'


@looking(10)
@given(histories(), st.integers(1, 5), randoms())
def test_nothing_is_found_where_nothing_is_wrong(case: Case, count: int, random: Random) -> None:
    facts = facts_of(case.lines, CATALOG, case.at)
    stream = Stream(plan_of(case.segments, CATALOG))
    nows = instants(case, count, random)
    for batch, now in zip(cut(facts, count, random), nows, strict=True):
        again = cut(pa.concat_tables([stream.history, batch]), 2, random)[0]
        again = again.filter(pc.is_valid(again["event_id"]))
        stream.batch(pa.concat_tables([batch, again]), now)
    pass_time(stream, nows[-1], case, random)
    found = audited(stream.rows, stream.history, plan=stream.plan, now=stream.now)
    assert [row for row in found.to_pylist() if row["side"] != "batch"] == []
    assert (pc.sum(found["count"]).as_py() or 0) == len(stream.members())


Row = dict[str, Any]


def lost_tile(row: Row) -> Row:
    return {**row, "tiles": pack_tiles(unpack_tiles(row["tiles"])[1:])}


def wrong_tile(row: Row) -> Row:
    (slot, tile, value), *rest = unpack_tiles(row["tiles"])
    return {**row, "tiles": pack_tiles([(slot, tile, value + 1), *rest])}


def no_member(row: Row) -> Row:
    return {**row, "members": pack_members([])}


def never_due(row: Row) -> Row:
    return {**row, "next_due": None}


def other_traits(row: Row) -> Row:
    return {**row, "traits": '{"country":{"ts":1,"v":"FR"}}'}


@pytest.mark.parametrize(
    ("damage", "memberships"),
    [
        (lost_tile, []),
        (wrong_tile, []),
        (no_member, [("only batch", "big", "ann")]),
        (never_due, []),
        (other_traits, []),
    ],
)
def test_damage_is_found_before_it_shows(
    damage: Callable[[Row], Row], memberships: list[tuple[str, str, str]]
) -> None:
    stream = bought_twice()
    rows = [damage(row) if row["user_id"] == "ann" else row for row in stream.rows.to_pylist()]
    state = pa.Table.from_pylist(rows, STATE_SCHEMA)
    assert found(state, stream) == [*memberships, ("state", None, "ann")]


def test_users_whom_one_side_does_not_know_are_found() -> None:
    stream = bought_twice()
    of_ann, of_bob = (pc.equal(stream.rows["user_id"], name) for name in ("ann", "bob"))
    assert found(stream.rows.filter(of_bob), stream) == [
        ("only batch", "big", "ann"),
        ("state", None, "ann"),
    ]
    stream.history = stream.history.filter(pc.equal(stream.history["user_id"], "bob"))
    assert found(stream.rows.filter(pc.or_(of_ann, of_bob)), stream) == [
        ("only stream", "big", "ann"),
        ("state", None, "ann"),
    ]


def test_who_waits_for_a_turn_is_not_wrong() -> None:
    stream = bought_twice()
    later = AT + 31 * DAY
    told = audited(stream.rows, stream.history, plan=stream.plan, now=later)
    assert told.to_pylist() == [], "both have left by then; their turn has not come"


def bought_twice() -> Stream:
    """Ann and bob, members both, each by two purchases in two tiles."""
    properties = b',"properties": {"amount": 7}'
    lines = [
        LINE % (b"%b-%d" % (user, ago), user, AT - ago * DAY, properties)
        for user in (b"ann", b"bob")
        for ago in (1, 2)
    ]
    stream = Stream(plan_of([parse_segment(BIG)], CATALOG))
    stream.batch(facts_of(lines, CATALOG, AT), AT)
    stream.batch(touch(["bob"], AT), AT + MINUTE)
    return stream


def found(state: pa.Table, stream: Stream) -> list[tuple[str, str | None, str]]:
    rows = audited(state, stream.history, plan=stream.plan, now=stream.now).to_pylist()
    return [(row["side"], row["segment"], row["user_id"]) for row in rows if row["side"] != "batch"]
