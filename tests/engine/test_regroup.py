"""Joins and deletions carried out batch by batch end where the reference ends."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR
from headrace.engine.door import admit
from headrace.rules.reference import reference_members
from headrace.rules.yaml import parse_segment
from properties import many
from rule_folders import segment
from strategies import AT, CATALOG
from streams import plan_of, raw
from towns import Town, linked


@given(st.integers(0, 1 << 32))
@many
def test_any_cut_of_joins_and_deletions_ends_in_the_reference(seed: int) -> None:
    random = Random(seed)
    case = linked(random)
    expected = reference_members(case.lines, case.segments, CATALOG, AT)
    events = admit(raw(case.lines), catalog=CATALOG, now=None, retention_ms=None)
    order = list(range(len(events)))
    random.shuffle(order)
    events = events.take(pa.array(order, pa.int64()))
    town = Town(plan_of(case.segments, CATALOG))
    cuts = sorted(random.randint(0, len(events)) for _ in range(random.randint(0, 5)))
    starts, ends = [0, *cuts], [*cuts, len(events)]
    nows = sorted(AT - random.choice((0, random.randrange(36 * DAY))) for _ in starts)
    for start, end, now in zip(starts, ends, nows, strict=True):
        town.live(events.slice(start, end - start), now)
        if random.random() < 0.3:
            town.compact(now)
    while town.live(events.slice(0, 0), AT).num_rows:
        pass
    assert town.members() == expected
    assert sorted(town.replayed) == expected, "messages add up to the members"


RULES = [
    parse_segment(segment("twice", "{event: purchase, count: true, gte: 2}")),
    parse_segment(segment("german", "{trait: country, eq: DE}")),
]


def buys(user: str, number: int, ts: int) -> dict[str, Any]:
    line = {"event_id": f"e{number}", "user_id": user, "type": "purchase", "ts": ts}
    return {**line, "properties": {"amount": 1}}


def country(user: str, value: str, ts: int) -> dict[str, Any]:
    return {"user_id": user, "type": "traits", "ts": ts, "traits": {"country": value}}


def town_after(*batches: list[dict[str, Any]]) -> Town:
    """One batch an hour, the last of them at AT."""
    town = Town(plan_of(RULES, CATALOG))
    for number, lines in enumerate(batches):
        events = admit(
            raw([orjson.dumps(one) for one in lines]), catalog=CATALOG, now=None, retention_ms=None
        )
        assert set(events["verdict"].to_pylist()) <= {"accepted"}
        town.live(events, AT - (len(batches) - 1 - number) * HOUR)
    return town


def join(source: str, target: str, ts: int = 5) -> dict[str, Any]:
    return {"type": "alias", "from": source, "to": target, "ts": ts}


def forget(user: str, ts: int) -> dict[str, Any]:
    return {"type": "delete", "user_id": user, "ts": ts}


def last(town: Town, user: str) -> dict[str, Any]:
    return [one for one in town.messages if one["user"] == user][-1]


def reasons(message: dict[str, Any]) -> dict[str, str]:
    return {one["segment"]: f"{one['change']} {one['reason']}" for one in message["changes"]}


def test_a_joined_id_leaves_everything_and_its_purchases_and_traits_go_along():
    town = town_after(
        [buys("anon", 1, 10), country("anon", "DE", 20), buys("ann", 2, 11)], [join("anon", "ann")]
    )
    assert town.members() == [("german", "ann"), ("twice", "ann")]
    gone = last(town, "anon")
    assert gone["merged_into"] == "ann" and "deleted" not in gone
    assert reasons(gone) == {"german": "exit merge"}
    assert reasons(last(town, "ann")) == {"german": "enter merge", "twice": "enter merge"}
    assert last(town, "ann")["traits"] == {"country": "DE"}
    assert town.known() == {"ann"}


def test_an_event_sent_again_after_its_user_was_joined_is_still_a_repeat():
    town = town_after([buys("anon", 1, 10)], [join("anon", "ann")], [buys("anon", 1, 10)])
    assert town.members() == [] and town.counted["duplicates"] == 1


def test_the_newer_trait_wins_whoever_had_it():
    town = town_after([country("anon", "DE", 20), country("ann", "FR", 30)], [join("anon", "ann")])
    assert ("german", "ann") not in town.members()
    town = town_after([country("anon", "DE", 20), country("ann", "FR", 10)], [join("anon", "ann")])
    assert ("german", "ann") in town.members()


def test_what_waits_for_its_time_goes_along():
    town = town_after([buys("anon", 1, AT - HOUR), buys("anon", 2, AT)], [join("anon", "ann")], [])
    assert town.members() == [("twice", "ann")]


def test_who_is_forgotten_leaves_and_is_unknown():
    town = town_after([buys("ann", 1, 10), buys("ann", 2, 11)], [forget("ann", 12)])
    assert last(town, "ann")["deleted"] is True
    assert reasons(last(town, "ann")) == {"twice": "exit delete"}
    assert town.known() == set()


def test_later_facts_start_a_new_user_and_old_ones_never_come_back():
    old = [buys("ann", 1, 10), buys("ann", 2, 11), country("ann", "DE", 11)]
    town = town_after(old, [forget("ann", 12)], [*old, buys("ann", 3, 13)])
    assert town.members() == [] and town.known() == {"ann"}
    assert last(town, "ann")["first_seen"] is True and last(town, "ann")["traits"] == {}


def test_facts_after_a_deletion_that_comes_late_are_kept():
    town = town_after(
        [buys("ann", 1, 10), country("ann", "DE", 10), buys("ann", 2, 20), buys("ann", 3, 21)],
        [forget("ann", 12)],
    )
    assert town.members() == [("twice", "ann")]
    assert reasons(last(town, "ann")) == {"german": "exit delete"}
    assert last(town, "ann")["traits"] == {}


def test_a_join_from_before_a_deletion_extends_it_whenever_it_comes():
    town = town_after(
        [buys("ann", 1, 3), buys("bob", 2, 3), buys("bob", 3, 4)],
        [forget("ann", 12)],
        [join("bob", "ann", 5)],
    )
    assert town.members() == [] and town.known() == set()


def test_a_late_deletion_parts_those_whom_a_forgotten_join_had_joined():
    town = town_after(
        [join("anon", "ann", 5), buys("anon", 1, 10), buys("anon", 2, 30), buys("ann", 3, 31)],
        [forget("ann", 20)],
    )
    assert town.known() == {"anon", "ann"} and town.members() == []


def test_a_cycle_goes_by_its_smallest_id_whoever_was_canonical():
    town = town_after(
        [buys("ann", 1, 10), buys("bob", 2, 10)], [join("ann", "bob")], [join("bob", "ann")]
    )
    assert town.members() == [("twice", "ann")] and town.known() == {"ann"}
    assert last(town, "bob")["merged_into"] == "ann"


def test_a_join_that_is_ahead_of_its_time_waits_for_it():
    town = town_after([buys("anon", 1, 10), buys("ann", 2, 10), join("anon", "ann", AT)], [])
    assert town.members() == [("twice", "ann")]
    town = town_after([buys("anon", 1, 10), buys("ann", 2, 10), join("anon", "ann", AT + 1)], [])
    assert town.members() == []


@pytest.mark.parametrize("links", [[join("a", "b")], [forget("a", 9)]])
def test_links_alone_make_nobody_known(links: list[dict[str, Any]]):
    assert town_after(links, links).known() == set()


def test_a_forgotten_event_keeps_its_id_taken():
    event = buys("ann", 1, 10)
    town = town_after([event, event], [forget("ann", 12)], [event])
    assert town.counted["duplicates"] == 2 and town.known() == set()
    late = town_after([forget("ann", 12)], [event], [event, event])
    assert late.counted["duplicates"] == 2 and late.known() == set()
