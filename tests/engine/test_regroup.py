"""Joins and deletions carried out batch by batch end where the reference ends."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR
from headrace.engine.compact import compact
from headrace.engine.door import admit
from headrace.engine.evaluate import without_repeats
from headrace.engine.families import FAMILY_SCHEMA, Regrouping, regroup
from headrace.engine.identity import FORGOTTEN, Identities, apply_identities, links_of
from headrace.engine.regroup import step
from headrace.engine.state import CURRENT, GONE, STATE_SCHEMA
from headrace.plan.model import Plan
from headrace.rules.reference import reference_members
from headrace.rules.yaml import parse_segment
from properties import many
from rule_folders import segment
from strategies import AT, CATALOG, Case
from streams import Stream, dense, plan_of, raw


class Town(Stream):
    """A stream that keeps its families, as the job does in its tables."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.families: dict[str, dict[str, Any]] = {}
        self.arrived: pa.Table | None = None
        self.changes: list[Regrouping] = []

    def live(self, events: pa.Table, now: int) -> pa.Table:
        """One batch of accepted EVENTS."""
        self.n += 1
        events = events.append_column("at", pa.array(np.full(len(events), now), pa.int64()))
        change = self._regroup(links_of(events), now)
        earlier = events.slice(0, 0) if self.arrived is None else self.arrived
        retold = earlier.filter(pc.is_in(earlier["user_id"], pa.array(change.retold, pa.string())))
        retold = without_repeats(retold)
        facts = apply_identities(events, self._identities())
        again = apply_identities(retold, self._identities())
        place = again.schema.get_field_index("sent_id")
        again = again.set_column(place, "sent_id", pa.nulls(len(again), pa.string()))
        facts = pa.concat_tables([facts, again.filter(pc.not_equal(again["type"], FORGOTTEN))])
        self.arrived = pa.concat_tables([earlier, events])
        elsewhere = [
            move["user_id"]
            for move in change.moves.to_pylist()
            if move["role"] in ("stays", "leaves")
        ]
        # As the job reads them: only rows of users whom the batch concerns.
        due = self.rows.filter(pc.less_equal(self.rows["next_due"], now))["user_id"].to_pylist()
        targets = change.moves["user_id"].to_pylist()
        concerned = {*facts["user_id"].to_pylist(), *due, *targets} - set(elsewhere)
        own = self.rows.filter(pc.is_in(self.rows["user_id"], pa.array(concerned, pa.string())))
        state = pa.concat_tables([own, self._moved(change)], promote_options="default")
        for name in ("origin", "role", "cause", "into"):
            if name not in state.column_names:
                state = state.append_column(name, pa.nulls(len(state), pa.string()))
        out = step(state, facts, plan=self.plan, now=now, n=self.n)
        self.rows = pa.concat_tables([self.rows, out])
        self._listen(out)
        self.changes.append(change)
        return out

    def _regroup(self, links: list[Any], now: int) -> Regrouping:
        named = {user for link in links for user in link[2:] if user}
        names = {
            row["family"]
            for row in self.families.values()
            if row["user_id"] in named or (row["due"] is not None and row["due"] <= now)
        }
        rows = [row for row in self.families.values() if row["family"] in names]
        change = regroup(pa.Table.from_pylist(rows, FAMILY_SCHEMA), links, now=now)
        self.families |= {row["user_id"]: row for row in change.rows.to_pylist()}
        return change

    def _identities(self) -> Identities:
        rows = self.families.values()
        return Identities(
            {r["user_id"]: r["canonical"] for r in rows if r["canonical"] != r["user_id"]},
            {r["user_id"]: r["forgotten"] for r in rows if r["forgotten"] is not None},
        )

    def _moved(self, change: Regrouping) -> pa.Table:
        by_user: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows.to_pylist():
            by_user.setdefault(row["user_id"], []).append(row)
        moved = []
        for move in change.moves.to_pylist():
            for row in by_user.get(move["origin"], ()):
                moved.append({**row, **move})
            if move["role"] in ("stays", "leaves"):
                moved.append({"n": -1, "layout": GONE, **move})
        fields = [
            *STATE_SCHEMA,
            *(pa.field(n, pa.string()) for n in ("origin", "role", "cause", "into")),
        ]
        return pa.Table.from_pylist(moved, pa.schema(fields))

    def known(self) -> set[str]:
        rows = compact(self.rows, now=0, horizon_ms=0).to_pylist()
        return {row["user_id"] for row in rows if row["layout"] == CURRENT}


USERS = ["u1", "u2", "u3", "v1", "v2"]


def linked(random: Random) -> Case:
    """A dense case whose users are joined and forgotten."""
    case = dense(random)
    lines = list(case.lines)
    for _ in range(random.randint(1, 6)):
        ts = (
            AT - random.randrange(35 * DAY)
            if random.random() < 0.8
            else AT - random.randrange(HOUR)
        )
        if random.random() < 0.65:
            line = {"type": "alias", "from": random.choice(USERS), "to": random.choice(USERS)}
        else:
            line = {"type": "delete", "user_id": random.choice(USERS)}
        lines.append(orjson.dumps({**line, "ts": ts}))
    lines += random.sample(lines, min(len(lines), 12))
    return Case(case.segments, tuple(lines), AT)


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
