"""Stories of single batches: who gets a row, what it says, and why."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
import xxhash

from headrace.clock import DAY, HOUR, MINUTE
from headrace.engine import advance as kernel
from headrace.engine.advance import advance
from headrace.engine.compact import OF_ITS_BATCH, compact, merge
from headrace.engine.repeats import MOST_IDS
from headrace.engine.state import (
    ARRIVED_SCHEMA,
    STATE_SCHEMA,
    empty_state,
    pack_members,
    unpack_members,
    unpack_tiles,
)  # fmt: skip
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.diff import diff
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import Catalog, EventType, Field
from headrace.rules.model import (
    Ago,
    AllOf,
    Compare,
    Condition,
    Measure,
    Not,
    Segment,
    Trait,
    Within,
    default_hop,
)  # fmt: skip

NOW = 1_790_000_000_000 // DAY * DAY
CATALOG = Catalog(
    events={
        "purchase": EventType({"amount": Field("decimal"), "items": Field("integer")}),
        "login": EventType(),
    },
    traits={"country": Field("string"), "signed_up": Field("timestamp")},
)
D = Decimal


def within(days: int) -> Within:
    return Within(days * DAY, default_hop(days * DAY))


def spent(least: int, days: int = 30) -> Compare:
    measure = Measure("sum", "purchase", "amount", None, within(days))
    return Compare(measure, "gte", D(least))


def logins(operator: Any, count: int, days: int = 1) -> Compare:
    return Compare(Measure("count", "login", None, None, within(days)), operator, D(count))


GERMAN = Compare(Trait("country"), "eq", "DE")
NEW = Compare(Trait("signed_up"), "after", Ago(7 * DAY))


def plan_of(
    rules: Mapping[str, Condition], version: int = 1, registry: MemoryRegistry | None = None
) -> Plan:
    versions = [SegmentVersion(Segment(id=i, condition=c), version) for i, c in rules.items()]
    return build_plan(versions, CATALOG, registry or MemoryRegistry(), JobParameters())


PLAN = plan_of({"big": spent(100), "german": GERMAN, "new": NEW, "quiet": logins("eq", 0)})


def facts(*rows: Mapping[str, Any]) -> pa.Table:
    """Rows of (user, type, ts) with properties; ids and offsets count up."""
    filled = [
        {
            "user_id": row["user"], "sent_id": row["user"], "event_id": row.get("id", f"e{i}"),
            "type": row.get("type", "purchase"), "ts": row.get("ts", NOW),
            "properties": orjson.dumps(row.get("is", {})).decode(),
            "partition": row.get("partition", 0), "offset": row.get("offset", i),
            "at": row.get("at", NOW), "topic": row.get("topic"),
        }
        for i, row in enumerate(rows)
    ]  # fmt: skip
    return pa.Table.from_pylist(filled, schema=ARRIVED_SCHEMA)


def buys(user: str, amount: Any, **more: Any) -> dict[str, Any]:
    return {"user": user, "is": {"amount": amount}, **more}


def tells(user: str, ts: int = NOW, **traits: Any) -> dict[str, Any]:
    return {"user": user, "type": "traits", "id": None, "ts": ts, "is": traits}


def row_of(table: pa.Table, user: str = "ann") -> dict[str, Any]:
    (row,) = [row for row in table.to_pylist() if row["user_id"] == user]
    return row


def message(table: pa.Table, user: str = "ann") -> dict[str, Any]:
    return orjson.loads(row_of(table, user)["changes"])


def changes(table: pa.Table, user: str = "ann") -> dict[str, tuple[str, str, int]]:
    text = row_of(table, user)["changes"]
    found = orjson.loads(text)["changes"] if text else []
    return {one["segment"]: (one["change"], one["reason"], one["effective_at"]) for one in found}


def test_a_message_says_everything() -> None:
    out = advance(empty_state(), facts(buys("ann", 120.5)), plan=PLAN, now=NOW, n=7)
    assert out.schema.equals(STATE_SCHEMA)
    found = message(out)
    big, quiet = sorted(found.pop("changes"), key=lambda one: one["segment"])
    assert found == {"user": "ann", "n": 7, "at": NOW, "first_seen": True, "traits": {}}
    assert big == {
        "id": xxhash.xxh64_hexdigest(b"big|1|ann|7"),
        "segment": "big", "version": 1, "change": "enter", "reason": "event", "at": NOW,
        "effective_at": NOW, "measures": {"sum(purchase.amount) within 30d": "120.5"},
    }  # fmt: skip
    assert quiet["measures"] == {"count(login) within 1d": "0"}
    row = row_of(out)
    assert (row["n"], row["at"], row["layout"], row["first_seen"]) == (7, NOW, 1, NOW)
    assert (row["folded"], row["duplicates"]) == (1, 0)
    assert row["traits"] is None and row["pending"] is None
    assert row["next_due"] == NOW + HOUR + 30 * DAY
    assert [value for _, _, value in unpack_tiles(row["tiles"])] == [1_205_000]


def test_who_gets_a_row() -> None:
    first = facts(buys("ann", 120), buys("bob", 120, ts=NOW - 29 * DAY), buys("cy", 1))
    state = advance(empty_state(), first, plan=PLAN, now=NOW, n=1)
    due = row_of(state, "bob")["next_due"]
    assert due == NOW - 29 * DAY + 30 * DAY + HOUR
    nothing = facts()
    assert advance(state, nothing, plan=PLAN, now=due - 1, n=2).num_rows == 0
    assert advance(empty_state(), nothing, plan=PLAN, now=NOW, n=1).num_rows == 0
    out = advance(state, facts({"user": "dee", "type": "unheard"}), plan=PLAN, now=due, n=2)
    assert sorted(out["user_id"].to_pylist()) == ["bob", "dee"]
    assert changes(out, "bob") == {"big": ("exit", "time", due)}
    assert changes(out, "dee") == {"quiet": ("enter", "event", NOW)}
    assert unpack_tiles(row_of(out, "bob")["tiles"])[0][2] == 1_200_000


@pytest.mark.parametrize(
    ("happening", "expected"),
    [
        pytest.param([buys("ann", 1, ts=NOW - MINUTE)], ("event", NOW - MINUTE), id="an event"),
        pytest.param([buys("ann", 1, ts=NOW - HOUR)], ("late", NOW - HOUR), id="a late event"),
        pytest.param(
            [buys("ann", 1, ts=NOW - HOUR), {"user": "ann", "type": "login", "ts": NOW - 1}],
            ("late", NOW - 1),
            id="since the newest of the facts",
        ),
        pytest.param(
            [buys("ann", 1), {"user": "ann", "type": "login", "ts": NOW - HOUR}],
            ("event", NOW),
            id="late, but of a type the rule does not look at",
        ),
        pytest.param(
            [buys("ann", 1), tells("ann", country="FR")], ("event", NOW), id="other trait"
        ),
    ],
)
def test_reasons(happening: list[dict[str, Any]], expected: tuple[str, int]) -> None:
    plan = plan_of({"buyer": spent(1)})
    out = advance(empty_state(), facts(*happening), plan=plan, now=NOW, n=1)
    assert changes(out) == {"buyer": ("enter", *expected)}


def test_a_trait_is_the_reason_for_rules_that_look_at_traits() -> None:
    plan = plan_of({"both": AllOf((spent(1), GERMAN)), "buyer": spent(1)})
    happening = facts(buys("ann", 1, ts=NOW - HOUR), tells("ann", NOW - 5, country="DE"))
    out = advance(empty_state(), happening, plan=plan, now=NOW, n=1)
    assert changes(out) == {
        "both": ("enter", "trait", NOW - 5),
        "buyer": ("enter", "late", NOW - 5),
    }
    assert message(out)["traits"] == {"country": "DE"}


def test_traits_keep_the_latest_whatever_comes_first() -> None:
    state = advance(empty_state(), facts(tells("ann", 5, country="DE")), plan=PLAN, now=NOW, n=1)
    out = advance(state, facts(tells("ann", 4, country="FR")), plan=PLAN, now=NOW, n=2)
    assert row_of(out)["traits"] == '{"country":{"ts":5,"v":"DE"}}'
    assert row_of(out)["changes"] is None
    out = advance(state, facts(tells("ann", 5, country="EE")), plan=PLAN, now=NOW, n=2)
    assert changes(out) == {"german": ("exit", "trait", 5)}
    removed = advance(state, facts(tells("ann", 6, country=None)), plan=PLAN, now=NOW, n=2)
    assert message(removed)["traits"] == {}
    older = advance(removed, facts(tells("ann", 5, country="XX")), plan=PLAN, now=NOW, n=3)
    assert row_of(older)["traits"] == '{"country":{"ts":6,"v":null}}'


def test_a_relative_trait_ages() -> None:
    joined = facts(tells("ann", signed_up=NOW - DAY))
    state = advance(empty_state(), joined, plan=PLAN, now=NOW, n=1)
    assert changes(state)["new"] == ("enter", "trait", NOW)
    due = row_of(state)["next_due"]
    assert due == NOW - DAY + 7 * DAY
    out = advance(state, facts(), plan=PLAN, now=due + 50, n=2)
    assert changes(out) == {"new": ("exit", "time", due)}
    assert row_of(out)["next_due"] is None


def test_repeats_do_not_count_within_the_horizon() -> None:
    bought = buys("ann", 60, id="a")
    state = advance(empty_state(), facts(bought, bought), plan=PLAN, now=NOW, n=1)
    assert (row_of(state)["folded"], row_of(state)["duplicates"]) == (1, 1)
    later = NOW + 7 * DAY
    out = advance(state, facts({**bought, "at": later}), plan=PLAN, now=later, n=2)
    assert (row_of(out)["folded"], row_of(out)["duplicates"]) == (0, 1)
    assert row_of(out)["changes"] is None
    much_later = later + DAY
    out = advance(state, facts({**bought, "at": much_later}), plan=PLAN, now=much_later, n=2)
    assert changes(out)["big"][:2] == ("enter", "late")


def test_of_repeats_in_one_batch_the_first_offset_counts() -> None:
    happening = facts(
        buys("ann", 1, id="a", offset=9), buys("ann", 200, id="a", offset=3),
        buys("bob", 200, id="a", partition=1), buys("bob", 1, id="a", partition=0),
    )  # fmt: skip
    out = advance(empty_state(), happening, plan=PLAN, now=NOW, n=1)
    assert "big" in changes(out) and "big" not in changes(out, "bob")


def test_repeats_are_named_where_their_topic_is_given() -> None:
    bought = buys("ann", 60, id="a", topic="orders")
    twice = facts({**bought, "offset": 4}, {**bought, "offset": 9}, buys("bob", 1, topic="orders"))
    state = advance(empty_state(), twice, plan=PLAN, now=NOW, n=1)
    (place,) = orjson.loads(row_of(state)["repeated"])
    assert place == {"topic": "orders", "partition": 0, "offset": 9}
    assert row_of(state, "bob")["repeated"] is None
    # Once more, and by another way; of that one nobody asked to know.
    again = facts({**bought, "topic": "shop", "offset": 4}, {**bought, "topic": None})
    out = advance(state, again, plan=PLAN, now=NOW, n=2)
    assert row_of(out)["duplicates"] == 2
    assert [one["topic"] for one in orjson.loads(row_of(out)["repeated"])] == ["shop"]
    whole = merge(state, out, now=NOW, horizon_ms=7 * DAY)
    assert row_of(whole)["repeated"] == row_of(out)["repeated"]
    assert row_of(compact(whole, now=NOW, horizon_ms=7 * DAY))["repeated"] is None


def test_a_fact_ahead_of_now_waits_and_then_counts() -> None:
    ahead = facts(buys("ann", 200, ts=NOW + MINUTE), tells("ann", NOW + 2 * MINUTE, country="DE"))
    state = advance(empty_state(), ahead, plan=PLAN, now=NOW, n=1)
    assert row_of(state)["changes"] is None and row_of(state)["first_seen"] is None
    assert row_of(state)["folded"] == 2
    assert row_of(state)["next_due"] == NOW + MINUTE
    out = advance(state, facts(), plan=PLAN, now=NOW + MINUTE, n=2)
    assert changes(out) == {
        "big": ("enter", "event", NOW + MINUTE),
        "quiet": ("enter", "event", NOW + MINUTE),
    }
    assert orjson.loads(row_of(out)["changes"])["first_seen"]
    assert row_of(out)["first_seen"] == NOW + MINUTE
    again = advance(pa.concat_tables([state, out]), facts(), plan=PLAN, now=NOW + HOUR, n=3)
    assert changes(again) == {"german": ("enter", "trait", NOW + 2 * MINUTE)}
    assert row_of(again)["pending"] is None and row_of(again)["folded"] == 0


def test_superseded_rows_give_their_ids_only() -> None:
    first = advance(empty_state(), facts(buys("ann", 200, id="a")), plan=PLAN, now=NOW, n=1)
    second = advance(first, facts(buys("ann", -150, id="b")), plan=PLAN, now=NOW, n=2)
    assert changes(second) == {"big": ("exit", "event", NOW)}
    rows = pa.concat_tables([second, first])
    third = advance(rows, facts(buys("ann", 200, id="a")), plan=PLAN, now=NOW, n=3)
    assert row_of(third)["duplicates"] == 1 and row_of(third)["changes"] is None


def test_a_new_definition_is_one_diff() -> None:
    registry = MemoryRegistry()
    old = plan_of({"big": spent(100), "gone": spent(1), "same": spent(1)}, 1, registry)
    both = {"big": spent(300), "fresh": logins("eq", 0)}
    new = build_plan(
        [
            *(SegmentVersion(Segment(id=i, condition=c), 2) for i, c in both.items()),
            SegmentVersion(Segment(id="same", condition=spent(1)), 1),
        ],
        CATALOG,
        registry,
        JobParameters(),
    )
    happening = facts(
        buys("ann", 100), buys("bob", 1_000), {"user": "cy", "type": "login"}, buys("dee", -1)
    )
    state = advance(empty_state(), happening, plan=old, now=NOW, n=1)
    change = diff(old, new)
    out = advance(state, facts(buys("bob", 1, id="z")), plan=new, now=NOW + 5, n=2, diff=change)
    after = NOW + 5
    assert changes(out) == {
        "big": ("exit", "definition", after),
        "fresh": ("enter", "definition", after),
        "gone": ("exit", "definition", after),
    }
    versions = {c["segment"]: c["version"] for c in message(out)["changes"]}
    assert versions == {"big": 2, "fresh": 2, "gone": 1}
    assert changes(out, "bob") == {
        "fresh": ("enter", "definition", after),
        "gone": ("exit", "definition", after),
    }
    ids = {p.segment: p.version_id for p in new.programs}
    assert unpack_members(row_of(out, "bob")["members"]) == sorted(ids.values())
    assert "cy" not in out["user_id"].to_pylist() or not changes(out, "cy").get("big")
    assert advance(out, facts(), plan=new, now=NOW + 6, n=3, diff=diff(new, new)).num_rows == 0


def switched(
    before: Mapping[str, Condition], after: Mapping[str, Condition], now: int
) -> tuple[pa.Table, Plan]:
    """Ann's rows after one login at NOW under ``before`` and a change to ``after`` at ``now``."""
    registry = MemoryRegistry()
    old, new = plan_of(before, 1, registry), plan_of(before | after, 1, registry)
    login = facts({"user": "ann", "type": "login"})
    rows = advance(empty_state(), login, plan=old, now=NOW, n=1)
    out = advance(rows, facts(), plan=new, now=now, n=2, diff=diff(old, new))
    return pa.concat_tables([rows, out]), new


def test_a_new_rule_that_only_time_will_meet_is_waited_for() -> None:
    month, calm = {"month": logins("gte", 5, 30)}, {"calm": logins("eq", 0, 7)}
    rows, plan = switched(month, calm, NOW + 1)
    due = NOW + 7 * DAY + HOUR
    assert advance(rows, facts(), plan=plan, now=due - 1, n=3).num_rows == 0
    out = advance(rows, facts(), plan=plan, now=due, n=3)
    assert changes(out) == {"calm": ("enter", "time", due)}


def test_a_new_rule_starts_from_its_own_instant() -> None:
    month, week = {"month": logins("gte", 1, 30)}, {"week": logins("gte", 1, 7)}
    rows, plan = switched(month, week, NOW + 10 * DAY)
    again = facts({"user": "ann", "type": "login", "ts": NOW + 10 * DAY, "id": "again"})
    out = advance(rows, again, plan=plan, now=NOW + 10 * DAY + 1, n=3)
    assert changes(out) == {"week": ("enter", "event", NOW + 10 * DAY)}


def test_of_a_batch_with_very_many_events_of_a_user_the_newest_are_known_again() -> None:
    plan = plan_of({"often": Compare(Measure("count", "login"), "gte", D(1))})
    flood = [{"user": "ann", "type": "login", "id": f"e{i}"} for i in range(2 * MOST_IDS)]
    state = advance(empty_state(), facts(*flood), plan=plan, now=NOW, n=1)
    again = facts(*flood[-MOST_IDS:], {"user": "ann", "type": "login", "id": "new"})
    rows = compact(state, now=NOW, horizon_ms=plan.job.horizon_ms)
    for stood in (state, rows):
        (row,) = advance(stood, again, plan=plan, now=NOW + 1, n=2).to_pylist()
        assert (row["duplicates"], row["folded"]) == (MOST_IDS, 1)
    assert row_of(state)["ids_lost"] == MOST_IDS and row_of(rows)["ids_lost"] == 0
    more = advance(rows, again, plan=plan, now=NOW + 1, n=2)
    whole = merge(rows, more, now=NOW + 1, horizon_ms=plan.job.horizon_ms)
    assert (row_of(more)["ids_lost"], row_of(whole)["ids_lost"]) == (0, 1)
    many = facts(*({"user": "ann", "type": "login", "id": f"n{i}"} for i in range(MOST_IDS + 5)))
    late = advance(rows, many, plan=plan, now=NOW + 1, n=2)
    whole = merge(rows, late, now=NOW + 1, horizon_ms=plan.job.horizon_ms)
    assert (row_of(late)["ids_lost"], row_of(whole)["ids_lost"]) == (5, MOST_IDS + 5)


def test_sums_beyond_64_bits_are_exact() -> None:
    measure = Measure("sum", "purchase", "items")
    average = Measure("avg", "purchase", "items")
    limit = 1 << 53
    plan = plan_of(
        {"huge": Compare(measure, "gt", D(0)), "mean": Compare(average, "eq", D(limit - 1))}
    )
    many = 3_000
    state = empty_state()
    for n in (1, 2):
        rows = [
            {"user": "ann", "id": f"{n}-{i}", "is": {"items": limit if n == 1 else -limit}}
            for i in range(many)
        ]
        rows += [{"user": "bob", "id": f"{n}-{i}", "is": {"items": limit}} for i in range(many)]
        out = advance(state, facts(*rows), plan=plan, now=NOW, n=n)
        state = pa.concat_tables([state, out])
        sums = {"ann": many * limit * (2 - n), "bob": many * limit * n}
        for user, total in sums.items():
            slot = next(i for i, s in enumerate(plan.slots) if s.accumulator == "sum")
            tiles = unpack_tiles(row_of(out, user)["tiles"])
            held = [v for s, _, v in tiles if s == plan.slots[slot].id]
            assert sum(held) == total
    assert "huge" in changes(out, "ann")
    assert unpack_members(row_of(out, "bob")["members"]) == [plan.programs[0].version_id]
    first = advance(empty_state(), facts(*rows), plan=plan, now=NOW, n=1)
    shown = message(first, "bob")["changes"][0]["measures"]["sum(purchase.items)"]
    assert shown == str(many * limit)


@pytest.mark.parametrize(
    ("amounts", "operator", "constant", "holds"),
    [
        pytest.param((1, 1, 2), "gt", "1.3333", True, id="four thirds are more than 1.3333"),
        pytest.param((1, 1, 2), "eq", "1.3333", False, id="and not equal"),
        pytest.param((1, 1, 2), "lt", "1.3334", True, id="and less than 1.3334"),
        pytest.param((1, 1, 2), "lte", "1.33334", False, id="constants have four places"),
        pytest.param((-1, -1, -2), "lt", "-1.3333", True, id="below zero"),
        pytest.param((-1, -1, -2), "gte", "-1.3334", True, id="below zero, above"),
        pytest.param((1, 2), "eq", "1.5", True, id="exact"),
        pytest.param((99999999999.9999,) * 5_000, "eq", "99999999999.9999", True, id="huge sums"),
        pytest.param((99999999999.9999,) * 5_000, "lt", "99999999999.9999", False, id="huge, lt"),
    ],
)
def test_averages_compare_exactly(
    amounts: tuple[float, ...], operator: Any, constant: str, holds: bool
) -> None:
    whole = all(isinstance(amount, int) for amount in amounts)
    for field in ("amount", "items") if whole else ("amount",):
        measure = Measure("avg", "purchase", field)
        plan = plan_of({"mean": Compare(measure, operator, D(constant))})
        rows = [{"user": "ann", "id": f"{i}", "is": {field: v}} for i, v in enumerate(amounts)]
        out = advance(empty_state(), facts(*rows), plan=plan, now=NOW, n=1)
        assert ("mean" in changes(out)) == holds


@pytest.mark.parametrize("cells", [1, 7, 1 << 24])
def test_a_large_group_is_taken_in_parts(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    happening = facts(*(buys(f"u{i % 9}", 10 * i) for i in range(40)))
    whole = advance(empty_state(), happening, plan=PLAN, now=NOW, n=1)
    monkeypatch.setattr(kernel, "CELLS", cells)
    parts = advance(empty_state(), happening, plan=PLAN, now=NOW, n=1)
    key = [("user_id", "ascending")]
    assert parts.sort_by(key).equals(whole.sort_by(key))
    again = advance(parts, facts(), plan=PLAN, now=NOW + 40 * DAY, n=2)
    assert again.num_rows == sum(d is not None for d in whole["next_due"].to_pylist())


def test_every_rule_evaluated_gives_the_same_rows() -> None:
    state = empty_state()
    for n in range(1, 6):
        rows = [buys(f"u{(i * n) % 13}", (i * 37) % 90 - 20, id=f"{n}{i}") for i in range(30)]
        rows += [tells(f"u{n}", NOW + n, country="DE"), {"user": f"u{n + 3}", "type": "login"}]
        now = NOW + n * DAY
        sparse = advance(state, facts(*rows), plan=PLAN, now=now, n=n)
        full = advance(state, facts(*rows), plan=PLAN, now=now, n=n, full=True)
        assert sparse.equals(full)
        state = pa.concat_tables([state, sparse])


def test_tables_may_come_in_chunks_slices_nulls_and_large_types() -> None:
    happening = facts(*(buys(f"u{i}", 60 + i) for i in range(6)))
    state = advance(empty_state(), happening, plan=PLAN, now=NOW, n=1)
    more = facts(*(buys(f"u{i}", 60, id=f"x{i}") for i in range(4)))
    expected = advance(state, more, plan=PLAN, now=NOW, n=2)
    wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    large = pa.schema([(f.name, wide.get(f.type, f.type)) for f in STATE_SCHEMA])
    padded = pa.concat_tables([state.slice(5), state, state.slice(0, 2)])
    variants = [
        pa.concat_tables([state.slice(0, 2), state.slice(2, 1), state.slice(3)]),
        padded.slice(1, 6),
        state.cast(large),
        state.drop_columns(list(OF_ITS_BATCH)),
    ]
    for variant in variants:
        chunked = pa.concat_tables([more.slice(0, 1), more.slice(1)])
        assert advance(variant, chunked, plan=PLAN, now=NOW, n=2).equals(expected)


def test_alias_and_delete_lines_are_not_the_kernels_business() -> None:
    lines = facts(
        {"user": "ann", "type": "alias", "id": None}, {"user": "bob", "type": "delete", "id": None}
    )
    assert advance(empty_state(), lines, plan=PLAN, now=NOW, n=1).num_rows == 0


def test_many_rules_fill_many_words() -> None:
    rules: dict[str, Condition] = {f"r{i:03}": spent(i) for i in range(130)}
    rules |= {f"n{i:03}": Not(spent(i)) for i in range(130)}
    plan = plan_of(rules)
    out = advance(empty_state(), facts(buys("ann", 64.5)), plan=plan, now=NOW, n=1)
    ids = {program.segment: program.version_id for program in plan.programs}
    expected = [ids[f"{'r' if i < 65 else 'n'}{i:03}"] for i in range(130)]
    assert unpack_members(row_of(out)["members"]) == sorted(expected)
    assert row_of(out)["members"] == pack_members(expected)
