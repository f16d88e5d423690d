"""Equal things are in a plan once, whatever they are spelled like and in whatever order."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.lines import FAR, MISSING, PRESENT, cuts_of
from headrace.plan.model import JobParameters, Line, Plan, TraitTest
from headrace.plan.registry import MemoryRegistry
from headrace.plan.sharing import keep_class
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Measure,
    Not,
    Operator,
    Property,
    Segment,
    Trait,
    Value,
    Within,
    default_hop,
)  # fmt: skip
from strategies import CATALOG, segments


def within(days: int) -> Within:
    return Within(days * DAY, default_hop(days * DAY))


def purchases(operator: Operator, value: Value, days: int = 30, **kw: Condition) -> Compare:
    measure = Measure("count", "purchase", None, kw.get("where"), within(days))
    return Compare(measure, operator, value)


def spent(operator: Operator, value: Value, days: int = 30) -> Compare:
    return Compare(Measure("sum", "purchase", "amount", None, within(days)), operator, value)


def plan_of(*conditions: Condition) -> Plan:
    versions = [
        SegmentVersion(Segment(id=f"s{i}", condition=condition), 1)
        for i, condition in enumerate(conditions)
    ]
    return build_plan(versions, CATALOG, MemoryRegistry(), JobParameters())


D = Decimal
SKU_A, SKU_B = Compare(Property("sku"), "eq", "a"), Compare(Property("sku"), "eq", "b")


@pytest.mark.parametrize(
    ("conditions", "counts"),
    [
        pytest.param([purchases("gt", D(5))] * 3, (1, 1, 1, 1), id="three times the same"),
        pytest.param(
            [purchases("gt", D(5)), purchases("gte", D(6))], (1, 1, 1, 1), id="two spellings of one"
        ),
        pytest.param(
            [purchases("eq", D(5)), purchases("ne", D(5)), Not(purchases("in", (D(5),)))],
            (1, 1, 1, 1),
            id="negations",
        ),
        pytest.param(
            [purchases("gt", D(5), days) for days in (7, 30)],
            (1, 1, 2, 2),
            id="a week and a month share tiles",
        ),
        pytest.param(
            [purchases("gt", D(5), days) for days in (1, 30)],
            (1, 2, 2, 2),
            id="a day and a month move in other steps",
        ),
        pytest.param([purchases("gt", D(5)), spent("gt", D(5))], (2, 2, 2, 2), id="another field"),
        pytest.param(
            [
                Compare(Measure(f, "purchase", "amount", None, within(30)), "gt", D(1))
                for f in ("avg", "sum")
            ],
            (1, 2, 2, 2),
            id="an average shares its sum",
        ),
        pytest.param(
            [
                purchases("gt", D(5), where=AllOf((SKU_A, SKU_B))),
                purchases("gt", D(5), where=AllOf((SKU_B, AllOf((SKU_A,)), SKU_A))),
            ],
            (1, 1, 1, 1),
            id="filters in another order",
        ),
        pytest.param(
            [
                purchases("gt", D(5), where=Compare(Property("sku"), "ne", "a")),
                purchases("gt", D(5), where=Not(SKU_A)),
                purchases("gt", D(5), where=Not(Not(Not(SKU_A)))),
            ],
            (1, 1, 1, 1),
            id="negated filters",
        ),
    ],
)
def test_sharing_is_counted(conditions: list[Condition], counts: tuple[int, ...]) -> None:
    plan = plan_of(*conditions)
    found = len(plan.bases), len(plan.slots), len(plan.measures), len(plan.predicates)
    assert found == counts


@given(st.lists(segments(), min_size=1, max_size=5), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_order_of_rules_means_nothing(rules: list[Segment], random: object) -> None:
    versions = [
        SegmentVersion(Segment(id=f"s{i}", condition=rule.condition), i)
        for i, rule in enumerate(rules)
    ]
    mixed = list(versions)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    plans = [
        build_plan(order, CATALOG, MemoryRegistry(), JobParameters()) for order in (versions, mixed)
    ]
    assert plans[0].to_json() == plans[1].to_json()


def test_slots_keep_their_ids_when_rules_come_and_go() -> None:
    registry = MemoryRegistry()
    version = SegmentVersion(Segment(id="a", condition=spent("gt", D(5))), 1)
    other = SegmentVersion(Segment(id="b", condition=purchases("gt", D(5), 7)), 1)
    first = build_plan([version], CATALOG, registry, JobParameters())
    both = build_plan([other, version], CATALOG, registry, JobParameters())
    assert {slot.id for slot in first.slots} <= {slot.id for slot in both.slots}
    ids = {program.segment: program.version_id for program in both.programs}
    assert ids["a"] == first.programs[0].version_id
    assert [slot.id for slot in both.slots] == sorted(slot.id for slot in both.slots)


@pytest.mark.parametrize(
    ("length", "hop", "kept"),
    [
        (HOUR, 60_000, DAY),
        (3 * DAY, 300_000, 7 * DAY),
        (7 * DAY, HOUR, 31 * DAY),
        (31 * DAY, HOUR, 31 * DAY),
        (32 * DAY, HOUR, 92 * DAY),
        (400 * DAY, DAY, 400 * DAY),
    ],
)
def test_tiles_are_kept_by_class(length: int, hop: int, kept: int) -> None:
    assert keep_class(length, hop) == kept


@pytest.mark.parametrize(
    ("operator", "value", "line", "negated", "cuts"),
    [
        pytest.param("gt", D(5), "integer", False, (6,), id="gt"),
        pytest.param("gte", D("5.5"), "integer", False, (6,), id="gte a fraction"),
        pytest.param("lt", D("5.5"), "integer", False, (PRESENT, 6), id="lt excludes missing"),
        pytest.param("lte", D(5), "integer", False, (PRESENT, 6), id="lte"),
        pytest.param("eq", D("5.5"), "integer", False, (), id="no integer is a fraction"),
        pytest.param("ne", D("5.5"), "integer", True, (), id="every integer is not"),
        pytest.param("between", (D(1), D(3)), "integer", False, (1, 4), id="between holds both"),
        pytest.param("between", (D(3), D(1)), "integer", False, (), id="an empty interval"),
        pytest.param("in", (D(7), D(1), D(2)), "integer", False, (1, 3, 7, 8), id="in"),
        pytest.param("not_in", (D(1),), "integer", True, (1, 2), id="not_in"),
        pytest.param("exists", True, "integer", False, (PRESENT,), id="exists"),
        pytest.param("exists", False, "integer", True, (PRESENT,), id="does not exist"),
        pytest.param("gt", D("0.00005"), "decimal", False, (1,), id="half to even below"),
        pytest.param("gt", D("0.00015"), "decimal", False, (3,), id="half to even above"),
        pytest.param("gt", D("2.5"), "average", False, (50_001,), id="just above"),
        pytest.param("gte", D("2.5"), "average", False, (50_000,), id="exactly"),
        pytest.param("eq", D("2.5"), "average", False, (50_000, 50_001), id="one average"),
        pytest.param("lte", D("2.5"), "average", False, (PRESENT, 50_001), id="up to"),
        pytest.param("before", Ago(10), "age", False, (11,), id="before 10 ms ago is older"),
        pytest.param("after", Ago(10), "age", False, (PRESENT, 10), id="after is younger"),
        pytest.param("between", (Ago(9), Ago(3)), "age", False, (3, 10), id="ages run backwards"),
        pytest.param("after", "1970-01-01T00:00:01Z", "instant", False, (1_001,), id="after"),
        pytest.param("gt", D("1e300"), "integer", False, (), id="beyond everything"),
        pytest.param("gt", D("-1e300"), "integer", False, (-FAR + 1,), id="below everything"),
        pytest.param("lt", D("1e-99999"), "decimal", False, (PRESENT, 0), id="next to nothing"),
    ],
)
def test_comparisons_become_cuts(
    operator: Operator, value: Value, line: Line, negated: bool, cuts: tuple[int, ...]
) -> None:
    assert cuts_of(operator, value, line) == (negated, cuts)
    assert all(MISSING < cut <= FAR for cut in cuts)


def test_fixed_and_relative_instants_in_one_list_are_told_apart() -> None:
    mixed = Compare(Trait("signed_up"), "in", ("2026-01-01", Ago(DAY)))
    lines = [one.line for one in plan_of(mixed).predicates if isinstance(one, TraitTest)]
    assert lines == ["instant", "age"] or lines == ["age", "instant"]


def test_trees_are_flat_and_without_repeats() -> None:
    a, b = purchases("gt", D(1)), purchases("gt", D(2))
    nested = AllOf((AllOf((b, a)), AllOf((a,)), Not(Not(b))))
    plan = plan_of(nested, AllOf((a, b)), AnyOf((AnyOf((a,)),)))
    assert plan.programs[0].tree == plan.programs[1].tree
    assert plan.programs[2].tree == 0
