"""What a new plan changes, and the plan that runs while history is built."""

from __future__ import annotations

from decimal import Decimal

from headrace.clock import DAY
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.diff import bridge, diff
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import Catalog, EventType, Field
from headrace.rules.model import (
    Compare,
    Condition,
    InSegment,
    Measure,
    Not,
    Segment,
    Trait,
    Within,
    default_hop,
)

CATALOG = Catalog(
    events={"purchase": EventType({"amount": Field("decimal")}), "login": EventType()},
    traits={"age": Field("integer")},
)


def happened(event: str, days: int, least: int = 1) -> Condition:
    window = Within(days * DAY, default_hop(days * DAY))
    return Compare(Measure("count", event, None, None, window), "gte", Decimal(least))


def plan(
    registry: MemoryRegistry, catalog: Catalog = CATALOG, **rules: tuple[Condition, int]
) -> Plan:
    versions = [
        SegmentVersion(Segment(id=name, condition=condition), version)
        for name, (condition, version) in rules.items()
    ]
    return build_plan(versions, catalog, registry, JobParameters())


def test_versions_come_go_and_replace() -> None:
    registry = MemoryRegistry()
    old = plan(registry, kept=(happened("login", 7), 1), changed=(happened("login", 7), 1),
               gone=(happened("login", 7), 4))  # fmt: skip
    new = plan(registry, kept=(happened("login", 7), 1), changed=(happened("login", 7, 2), 2),
               fresh=(happened("purchase", 30), 1))  # fmt: skip
    ids = {(p.segment, p.version): p.version_id for p in (*old.programs, *new.programs)}
    change = diff(old, new)
    assert change.replaced == {
        ids["changed", 1]: ids["changed", 2],
        ids["gone", 4]: None,
    }
    assert change.names == {ids["changed", 1]: ("changed", 1), ids["gone", 4]: ("gone", 4)}
    assert change.added == (ids["fresh", 1],)
    assert len(change.added_slots) == 1
    assert not change.is_empty


def test_a_segment_that_refers_to_a_changed_one_is_judged_anew() -> None:
    registry = MemoryRegistry()
    outer = (Not(InSegment("inner")), 1)
    old = plan(registry, inner=(happened("login", 7), 1), outer=outer)
    new = plan(registry, inner=(happened("login", 7, 2), 2), outer=outer)
    ids = {(p.segment, p.version): p.version_id for p in (*old.programs, *new.programs)}
    assert diff(old, new).replaced == {
        ids["inner", 1]: ids["inner", 2],
        ids["outer", 1]: ids["outer", 1],
    }


def test_the_same_plan_changes_nothing_and_a_wider_window_needs_no_history() -> None:
    registry = MemoryRegistry()
    week = plan(registry, a=(happened("login", 7), 1))
    month = plan(registry, a=(happened("login", 30), 2))
    assert diff(week, week).is_empty
    assert diff(week, month).added_slots == ()
    assert diff(None, week).added == (week.programs[0].version_id,)


def test_a_version_whose_catalog_changed_is_judged_anew() -> None:
    registry = MemoryRegistry()
    older = Compare(Trait("age"), "gt", Decimal(1))
    renamed = Catalog(events=CATALOG.events, traits={"age": Field("decimal")})
    old, new = plan(registry, a=(older, 1)), plan(registry, renamed, a=(older, 1))
    version_id = old.programs[0].version_id
    assert diff(old, new).replaced == {version_id: version_id}


def test_the_bridge_folds_for_both_and_decides_as_before() -> None:
    registry = MemoryRegistry()
    new = plan(registry, b=(happened("purchase", 30), 1))
    old = plan(registry, a=(happened("login", 7), 1))
    between = bridge(old, new)
    assert [slot.id for slot in between.slots] == [0, 1]
    assert between.programs == old.programs
    assert between.event_types == ("login", "purchase")
    of = between.measures[0].slots[0]
    assert between.bases[between.slots[of].base].event == "login"
    assert diff(old, between).replaced == {}
    assert Plan.from_json(between.to_json()) == between
