"""Computed traits: named measures, which mean in a rule what the measure would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given

from headrace.clock import DAY, parse_instant
from headrace.engine.evaluate import evaluate
from headrace.engine.profile import measures_of
from headrace.plan.diff import diff
from headrace.plan.explain import explain
from headrace.plan.model import Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import Computed
from headrace.rules.computed import written_out
from headrace.rules.folder import load_rules
from headrace.rules.model import Compare, Measure, Segment, Trait, leaves
from headrace.rules.reference import reference_members
from headrace.rules.sql import read_sql
from headrace.rules.streams.carriers import needed
from headrace.rules.turns import next_turn
from headrace.rules.yaml import canonical, parse_catalog, parse_segment
from properties import many
from rule_folders import write_rules
from strategies import CATALOG, Case
from streams import Stream, cut, facts_of, histories, instants, plan_of, randoms, touch

TEXT = """\
apiVersion: headrace/v1
kind: Catalog
events:
  purchase: {properties: {amount: {type: decimal}, sku: {type: string}, at: {type: timestamp}}}
traits:
  country: {type: string}
  lifetime_value: {event: purchase, sum: amount, description: All they spent}
  orders_lately: {event: purchase, count: true, within: 30 days, where: {sku: a}}
  first_bought: {event: purchase, min: at, since: 2026-01-01}
"""


def test_a_catalog_reads_as_it_is_printed() -> None:
    catalog = parse_catalog(TEXT)
    assert catalog.traits.keys() == {"country"}
    assert catalog.computed["lifetime_value"] == Computed(
        Measure("sum", "purchase", "amount"), "All they spent"
    )
    assert parse_catalog(canonical(catalog)) == catalog
    assert "lifetime_value: {event: purchase, sum: amount" in canonical(catalog)


@pytest.mark.parametrize(
    ("old", "new", "place", "code", "says"),
    [
        ("sum: amount", "sum: amuont", "7:42", "HR203", "did you mean 'amount'?"),
        ("sum: amount", "sum: sku", "7:42", "HR204", "'sum' does not fit"),
        ("sum: amount", "last: sku", "7:43", "HR204", "only numbers and instants are kept"),
        ("event: purchase, sum", "event: purchse, sum", "7:27", "HR201", "did you mean 'purchase'"),
        ("sum: amount", "gt: 5", "7:37", "HR108", "unknown key 'gt'"),
        ("where: {sku: a}", "where: {sko: a}", "8:74", "HR203", "did you mean 'sku'?"),
        ("lifetime_value:", "'list:x':", "7:13", "HR111", "the name of a list"),
    ],
)
def test_a_broken_one_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, place: str, code: str, says: str
) -> None:
    assert old in TEXT
    root = write_rules(
        tmp_path / "rules", {"s": "{trait: country, eq: DE}"}, TEXT.replace(old, new)
    )
    told = [str(problem) for problem in load_rules(root).errors]
    assert any(f"catalog.yaml:{place}:" in one and f"[{code}]" in one and says in one
               for one in told), told  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{trait: lifetime_value, gt: 1000}", None),
        ("{all: [{trait: orders_lately, gte: 3}, {trait: first_bought, before: -3 days}]}", None),
        ("{trait: lifetime_value, starts_with: a}", "'starts_with' does not fit computed trait"),
        ("{trait: lifetime_valu, gt: 1}", "did you mean 'lifetime_value'?"),
        ("{trait: lifetime_value, gt: many}", "is a decimal"),
    ],
)
def test_rules_ask_for_them_like_for_traits(tmp_path: Path, rule: str, says: str | None) -> None:
    found = load_rules(write_rules(tmp_path / "rules", {"s": rule}, TEXT))
    told = "\n".join(map(str, found.errors))
    assert (says in told) if says else not told, told


def test_sql_asks_for_them_too() -> None:
    read = read_sql("-- id: big\nSELECT user_id FROM profiles WHERE lifetime_value > 1000", "x.sql")
    assert read.segment is not None and not read.problems
    big = written_out(read.segment, parse_catalog(TEXT))
    assert [leaf.subject for leaf in leaves(big.condition)] == [
        Measure("sum", "purchase", "amount")
    ]


def test_meaning_is_looked_at(tmp_path: Path) -> None:
    never = "{all: [{trait: lifetime_value, gt: 5}, {event: purchase, sum: amount, lt: 4}]}"
    found = load_rules(write_rules(tmp_path / "rules", {"s": never}, TEXT))
    assert any(problem.code == "HR310" for problem in found.warnings)


def test_what_they_rest_on_is_known() -> None:
    big = parse_segment(
        "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: big}\n"
        "spec: {match: {trait: lifetime_value, gt: 5}}"
    )
    assert needed([big], parse_catalog(TEXT))["big"] == {"purchase"}


def named(case: Case) -> tuple[list[Segment], dict[str, Computed]]:
    """The rules of ``case`` with every comparison of a number by a computed trait of that name."""
    computed: dict[str, Computed] = {}
    segments = []
    for segment in case.segments:
        leaf = next(
            (one for one in leaves(segment.condition)
             if isinstance(one, Compare) and isinstance(one.subject, Measure)), None
        )  # fmt: skip
        if leaf is None or not isinstance(leaf.subject, Measure):
            continue
        of = plan_of([Segment(id="x", condition=leaf)], CATALOG).measures
        if any(one.test for one in of):
            continue  # of a text
        name = f"computed_{len(computed)}"
        computed[name] = Computed(leaf.subject)
        condition = Compare(Trait(name), leaf.operator, leaf.value)
        segments.append(replace(segment, condition=condition, stay=None))
    return segments, computed


@many
@given(histories(), randoms())
def test_a_computed_trait_means_its_measure_everywhere(case: Case, random: Random) -> None:
    segments, computed = named(case)
    catalog = replace(CATALOG, computed=computed)
    plain = [written_out(one, catalog) for one in segments]
    expected = reference_members(case.lines, plain, CATALOG, case.at)
    assert reference_members(case.lines, segments, catalog, case.at) == expected
    assert evaluate(case.lines, segments, catalog, case.at) == expected
    plan = plan_of(segments, catalog)
    assert len(plan.computed) == len(computed)
    assert Plan.from_json(plan.to_json()) == plan


@many
@given(histories(), randoms())
def test_they_are_kept_though_no_rule_asks(case: Case, random: Random) -> None:
    segments, computed = named(case)
    catalog = replace(CATALOG, computed=computed)
    alone = plan_of([], catalog)
    assert [name for name, _ in alone.computed] == sorted(computed) and not alone.programs
    facts = facts_of(case.lines, CATALOG, case.at)
    users = sorted(set(facts["user_id"].to_pylist()))
    found = []
    for plan in (alone, plan_of(segments, catalog)):
        stream = Stream(plan)
        for batch, now in zip(cut(facts, 3, random), instants(case, 3, random), strict=True):
            stream.batch(batch, now)
        stream.batch(touch(users, case.at), case.at)
        told = measures_of(stream.rows, plan=plan, at=case.at)
        found.append(
            {
                user: {name: told[user][plan.measures[place].name] for name, place in plan.computed}
                for user in users
            }
        )
    assert found[0] == found[1]


def test_a_new_one_needs_history_and_no_new_version() -> None:
    catalog = parse_catalog(TEXT)
    segment = parse_segment(
        "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: de}\n"
        "spec: {match: {trait: country, eq: DE}}"
    )
    registry = MemoryRegistry()
    before = plan_of([segment], replace(catalog, computed={}), registry)
    after = plan_of([segment], catalog, registry)
    change = diff(before, after)
    assert len(change.added_slots) == 3 and not change.replaced and not change.added


def test_a_warning_of_the_catalog_switches_nothing_off(tmp_path: Path) -> None:
    long = TEXT.replace("within: 30 days", "within: 2000 days")
    root = write_rules(tmp_path / "rules", {"s": "{trait: nope, gt: 3}"}, long)
    assert {one.code for one in load_rules(root).problems} == {"HR302", "HR202"}
    assert {one.code for one in load_rules(root, retention=3_000 * DAY).problems} == {"HR202"}


def test_between_numbers_is_no_window(tmp_path: Path) -> None:
    text = TEXT.replace("sum: amount", "sum: amount, between: [1, 5]")
    root = write_rules(tmp_path / "rules", {"s": "{trait: country, eq: DE}"}, text)
    assert [one.code for one in load_rules(root).errors] == ["HR113"]


STAYING = """\
apiVersion: headrace/v1
kind: Segment
metadata: {id: busy}
spec:
  match: %s
  stay: {min_dwell: 1 hour, cooldown: 10 days}
"""


@pytest.mark.parametrize(
    "match",
    [
        "{trait: orders_lately, gte: 1}",
        "{event: purchase, count: true, within: 30 days, where: {sku: a}, gte: 1}",
    ],
)
def test_stays_see_time_pass_in_them(match: str) -> None:
    catalog = parse_catalog(TEXT)
    busy = parse_segment(STAYING % match)
    lines = [
        b'{"event_id":"1","user_id":"ann","type":"purchase","ts":"2026-01-01T00:00:00Z",'
        b'"properties":{"sku":"a"}}'
    ]
    for at, inside in (("2026-01-20T00:00:00Z", True), ("2026-02-05T00:00:00Z", False)):
        expected = [("busy", "ann")] if inside else []
        assert reference_members(lines, [busy], catalog, parse_instant(at)) == expected
        assert evaluate(lines, [busy], catalog, parse_instant(at)) == expected
    turn = next_turn(lines, [busy], catalog, parse_instant("2026-01-20T00:00:00Z"), ("busy", "ann"))
    assert turn == parse_instant("2026-01-31T01:00:00Z")


def test_no_fact_of_a_test_sets_one(tmp_path: Path) -> None:
    root = write_rules(tmp_path / "rules", {"s": "{trait: lifetime_value, gt: 5}"}, TEXT)
    file = root / "segments" / "s.yaml"
    file.write_text(
        file.read_text() + "tests:\n- name: x\n"
        "  events: [{user: a, ts: 2026-01-01, type: traits, lifetime_value: 9}]\n"
        "  expect: [{user: a, at: 2026-01-02, member: true}]\n"
    )
    assert [one.code for one in load_rules(root).errors] == ["HR211"]


def test_a_plan_says_what_is_kept_for_them() -> None:
    catalog = parse_catalog(TEXT)
    big = parse_segment(
        "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: big}\n"
        "spec: {match: {trait: lifetime_value, gt: 5}}"
    )
    told = explain(plan_of([big], catalog))
    assert "[big, trait lifetime_value]" in told and "[no segment]" not in told
    assert "adds 1 predicate" in told
