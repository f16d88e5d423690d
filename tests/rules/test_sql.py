"""The SQL spelling: what it says in YAML, and that it prints and reads as itself."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR, MINUTE
from headrace.errors import RuleError
from headrace.rules.checks import check_segment
from headrace.rules.conditions import read_condition
from headrace.rules.folder import load_rules
from headrace.rules.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Measure,
    Not,
    Segment,
    Stay,
    Trait,
    Within,
)
from headrace.rules.nodes import read_node
from headrace.rules.printer import print_condition
from headrace.rules.reading import Reading
from headrace.rules.sql import print_sql, read_sql
from headrace.rules.sql.limits import depths_of
from headrace.rules.yaml import parse_segment
from properties import looking
from rule_folders import segment as segment_text
from rule_folders import write_rules
from strategies import CATALOG, segments

RULES = Path(__file__).parents[2] / "rules"
IN_30_DAYS = "within: 30 days"


def parsed(statement: str) -> Condition:
    read = read_sql(f"-- id: x\n{statement}")
    assert read.segment is not None and not read.problems, [str(p) for p in read.problems]
    return read.segment.condition


def from_yaml(match: str) -> Condition:
    return parse_segment(segment_text("x", match)).condition


def of_users(where: str) -> str:
    return f"SELECT user_id FROM profiles WHERE {where}"


def of_rows(where: str) -> str:
    return f"SELECT user_id FROM purchase WHERE {where}"


def of_groups(having: str) -> str:
    return f"SELECT user_id FROM purchase GROUP BY user_id HAVING {having}"


def trait(name: str, *more: str) -> str:
    return ", ".join(f"{{trait: {name}, {one}}}" for one in more)


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        pytest.param(
            "SELECT user_id FROM purchase WHERE ts > now() - INTERVAL 30 DAYS "
            "GROUP BY user_id HAVING sum(amount) > 1000 AND count(*) > 5",
            f"{{all: [{{event: purchase, sum: amount, {IN_30_DAYS}, gt: 1000}}, "
            f"{{event: purchase, count: true, {IN_30_DAYS}, gt: 5}}]}}",
            id="the example of the language",
        ),
        pytest.param("SELECT user_id FROM purchase", "{did: purchase}", id="did"),
        pytest.param("select distinct user_id from purchase;", "{did: purchase}", id="distinct"),
        pytest.param(
            "SELECT p.user_id FROM purchase AS p GROUP BY p.user_id", "{did: purchase}", id="alias"
        ),
        pytest.param("SELECT user_id FROM `order: paid`", '{did: "order: paid"}', id="backticks"),
        pytest.param(
            "SELECT user_id FROM profiles EXCEPT SELECT user_id FROM purchase",
            "{did_not: purchase}",
            id="absence",
        ),
        pytest.param("SELECT user_id FROM profiles", "{sample: {percent: 100}}", id="everybody"),
        *[
            pytest.param(of_rows(where), f"{{did: purchase, {IN_30_DAYS}}}", id=where)
            for where in (
                "ts > now() - INTERVAL 30 DAYS", "ts >= now() - INTERVAL '30' DAY",
                "now() - INTERVAL '30 days' < ts", "ts > current_timestamp - INTERVAL 720 HOURS",
                "ts > CURRENT_TIMESTAMP() - interval 30 day",
                "purchase.ts > NOW() - INTERVAL 30 DAY",
            )
        ],
        *[
            pytest.param(of_rows(where), f"{{did: purchase, {window}}}", id=where)
            for where, window in {
                "ts >= TIMESTAMP '2026-01-01 00:00:00'": "since: 2026-01-01",
                "ts >= DATE '2026-01-01'": "since: 2026-01-01",
                "ts > TIMESTAMP '2026-01-01T09:00:00+01:00'": "since: 2026-01-01T08:00:00.001Z",
                "ts >= DATE '2026-01-01' AND ts < DATE '2026-02-01'":
                    "between: [2026-01-01, 2026-02-01]",
                "DATE '2026-02-01' >= ts AND DATE '2026-01-01' <= ts":
                    "between: [2026-01-01, 2026-02-01T00:00:00.001Z]",
                "ts BETWEEN DATE '2026-01-01' AND DATE '2026-02-01'":
                    "between: [2026-01-01, 2026-02-01T00:00:00.001Z]",
                "ts < DATE '2026-02-01'": "between: [1970-01-01, 2026-02-01]",
            }.items()
        ],
        *[
            pytest.param(of_rows(where), f"{{did: purchase, where: {held}}}", id=where)
            for where, held in {
                "sku = 'it''s'": '{sku: "it\'s"}',
                "amount = 1.50 AND gift = TRUE": "{amount: 1.5, gift: true}",
                "amount > -2.5": "{property: amount, gt: -2.5}",
                "3 >= amount": "{property: amount, lte: 3}",
                "`sku` LIKE 'a%'": "{property: sku, starts_with: a}",
                "sku LIKE '%a'": "{property: sku, ends_with: a}",
                "sku LIKE '%a%'": "{property: sku, contains: a}",
                "sku LIKE 'a'": "{property: sku, eq: a}",
                r"sku RLIKE '^a\d'": r"{property: sku, matches: '^a\d'}",
                "array_contains(labels, 'a')": "{property: labels, contains: a}",
                "arrays_overlap(labels, array('a', 'b'))":
                    "{property: labels, contains_any: [a, b]}",
                "amount BETWEEN 1 AND 2": "{property: amount, between: [1, 2]}",
                "sku IN ('a', 'b')": "{property: sku, in: [a, b]}",
                "sku IS NULL": "{property: sku, exists: false}",
                "sku IS NOT NULL": "{property: sku, exists: true}",
                "sku IS DISTINCT FROM 'a'": "{property: sku, ne: a}",
                "sku IS NOT DISTINCT FROM 'a'": "{property: sku, eq: a}",
                "sku <=> 'a'": "{property: sku, eq: a}",
                "sku <> 'a'": "{all: [{property: sku, exists: true}, {property: sku, ne: a}]}",
                "sku NOT IN ('a')":
                    "{all: [{property: sku, exists: true}, {property: sku, not_in: [a]}]}",
                "sku IS NULL OR sku NOT IN ('a')": "{property: sku, not_in: [a]}",
                "sku IS NULL OR (sku NOT IN ('a'))":
                    "{any: [{property: sku, exists: false}, "
                    "{all: [{property: sku, exists: true}, {property: sku, not_in: [a]}]}]}",
                "sku NOT LIKE 'a%'":
                    "{all: [{property: sku, exists: true}, "
                    "{not: {property: sku, starts_with: a}}]}",
                "NOT amount > 1": "{property: amount, lte: 1}",
                "(amount > 1) IS NOT TRUE": "{not: {property: amount, gt: 1}}",
                "gift": "{gift: true}",
                "NOT gift": "{gift: false}",
                "ships > DATE '2026-01-01'": "{property: ships, after: 2026-01-01}",
                "ships <= TIMESTAMP '2026-01-01 09:00:00'":
                    "{property: ships, lte: 2026-01-01T09:00:00Z}",
                "amount = 1 AND (items = 1 OR sku = 'a')":
                    "{all: [{property: amount, eq: 1}, "
                    "{any: [{property: items, eq: 1}, {property: sku, eq: a}]}]}",
            }.items()
        ],
        *[
            pytest.param(of_groups(having), held, id=having)
            for having, held in {
                "count(*) >= 3": "{event: purchase, count: true, gte: 3}",
                "count(1) > 3": "{event: purchase, count: true, gt: 3}",
                "count(*) < 5": "{all: [{did: purchase}, {event: purchase, count: true, lt: 5}]}",
                "count(sku) > 3":
                    "{event: purchase, count: true, where: {property: sku, exists: true}, gt: 3}",
                "count(DISTINCT sku) > 3": "{event: purchase, distinct: sku, gt: 3}",
                "sum(amount) > -1":
                    "{all: [{did: purchase, where: {property: amount, exists: true}}, "
                    "{event: purchase, sum: amount, gt: -1}]}",
                "sum(amount) IS NULL":
                    "{all: [{did: purchase}, "
                    "{did_not: purchase, where: {property: amount, exists: true}}]}",
                "avg(amount) <> 5":
                    "{all: [{event: purchase, avg: amount, exists: true}, "
                    "{event: purchase, avg: amount, ne: 5}]}",
                "min(items) BETWEEN 1 AND 2": "{event: purchase, min: items, between: [1, 2]}",
            }.items()
        ],
        pytest.param(
            "SELECT user_id FROM purchase WHERE sku IS NOT NULL GROUP BY user_id "
            "HAVING max_by(sku, ts) = 'a' OR min_by(sku, ts) IN ('b')",
            "{any: [{event: purchase, last: sku, eq: a}, {event: purchase, first: sku, in: [b]}]}",
            id="first and last",
        ),
        pytest.param(
            of_users("country <> 'DE'"),
            f"{{all: [{trait('country', 'exists: true', 'ne: DE')}]}}",
            id="a trait that is another",
        ),
        pytest.param(
            of_users("NOT (country = 'DE' OR age = 2)"),
            f"{{all: [{{all: [{trait('country', 'exists: true', 'ne: DE')}]}}, "
            f"{{all: [{trait('age', 'exists: true', 'ne: 2')}]}}]}}",
            id="neither",
        ),
        pytest.param(
            of_users("signed_up > now() - INTERVAL 7 DAYS"),
            "{trait: signed_up, after: -7 days}",
            id="a moving instant",
        ),
        pytest.param(
            of_users("signed_up <= now() + INTERVAL 2 HOURS"),
            "{all: [{trait: signed_up, exists: true}, {not: {trait: signed_up, after: +2 hours}}]}",
            id="a moving instant ahead",
        ),
        pytest.param(
            of_users("country = 'DE' AND user_id IN (SELECT user_id FROM purchase)"),
            "{all: [{trait: country, eq: DE}, {did: purchase}]}",
            id="among others",
        ),
        pytest.param(
            "SELECT user_id FROM profiles p WHERE country = 'DE' OR NOT EXISTS "
            "(SELECT 1 FROM purchase x WHERE x.user_id = p.user_id AND x.amount > 5)",
            "{any: [{trait: country, eq: DE}, "
            "{not: {did: purchase, where: {property: amount, gt: 5}}}]}",
            id="exists",
        ),
        pytest.param(
            "SELECT user_id FROM a UNION SELECT user_id FROM b INTERSECT SELECT user_id FROM c "
            "EXCEPT SELECT user_id FROM d",
            "{all: [{any: [{did: a}, {all: [{did: b}, {did: c}]}]}, {did_not: d}]}",
            id="precedence of sets",
        ),
        pytest.param(
            "SELECT user_id FROM segment('other') INTERSECT SELECT user_id FROM list('vip') "
            "INTERSECT SELECT user_id FROM condition('{sample: {percent: 5, salt: ''s''}}')",
            "{all: [{segment: other}, {list: vip}, {sample: {percent: 5, salt: s}}]}",
            id="sources",
        ),
        pytest.param(
            "-- a comment\nSELECT user_id /* and\n another */ FROM purchase -- end",
            "{did: purchase}",
            id="comments",
        ),
    ],
)  # fmt: skip
def test_spellings(statement: str, match: str) -> None:
    condition = parsed(statement)
    assert print_condition(condition) == print_condition(from_yaml(match))
    assert condition == from_yaml(match)
    printed = print_sql(Segment(id="x", condition=condition))
    assert read_sql(printed).segment == Segment(id="x", condition=condition)


def test_a_header_is_read_and_printed() -> None:
    text = (
        "-- id: big\n--name:   Big: spenders # 1\n-- owner: growth\n-- written by ann\n"
        '-- description: "two\\nlines"\n-- tags: a, b c\n-- timezone: Europe/Berlin\n'
        "-- stay: {exit_when: {did_not: purchase, within: 1 day}, min_dwell: 1 hour}\n\n"
        "SELECT user_id FROM condition('{did: purchase, period: today}')\n"
    )
    read = read_sql(text)
    assert not read.problems and read.segment is not None
    assert read.segment == parse_segment(
        "apiVersion: headrace/v1\nkind: Segment\nmetadata:\n  id: big\n"
        "  name: 'Big: spenders # 1'\n  owner: growth\n  description: \"two\\nlines\"\n"
        "  tags: [a, b c]\nspec:\n  match: {did: purchase, period: today}\n"
        "  timezone: Europe/Berlin\n"
        "  stay: {exit_when: {did_not: purchase, within: 1 day}, min_dwell: 1 hour}\n"
    )
    printed = print_sql(read.segment)
    assert read_sql(printed).segment == read.segment
    assert printed.startswith("-- id: big\n-- name: Big: spenders # 1\n-- owner: growth\n")


@looking(100)
@given(segments(), st.sampled_from((None, CATALOG)))
def test_printing_is_undone_by_reading(segment: Segment, catalog: object) -> None:
    printed = print_sql(segment, catalog)  # type: ignore[arg-type]
    read = read_sql(printed)
    assert not read.problems and read.segment == segment
    assert print_sql(read.segment, catalog) == printed  # type: ignore[arg-type]


TEXTS = st.text(max_size=12)
NAMES = st.one_of(
    st.text(min_size=1, max_size=8),
    st.sampled_from(("ts", "user_id", "profiles", "date", "select", "order", "now", "a b", "x")),
)


@looking(100)
@given(NAMES, NAMES, TEXTS, TEXTS, st.lists(st.text(min_size=1, max_size=5), max_size=3))
def test_any_name_and_text_is_kept(
    event: str, name: str, text: str, title: str, tags: list[str]
) -> None:
    if not all(map(_is_writable, (event, name, text, title, *tags))):
        return
    where = Compare(Trait(name), "eq", text)
    did = Compare(Measure("count", event), "gte", Decimal(1))
    segment = Segment(id="x", condition=AllOf((where, did)), name=title, tags=tuple(tags))
    read = read_sql(print_sql(segment))
    assert read.segment == segment, [str(problem) for problem in read.problems]


def _is_writable(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


@pytest.mark.parametrize("name", sorted(path.stem for path in RULES.glob("segments/*.yaml")))
def test_our_own_rules_have_a_spelling_in_sql(name: str) -> None:
    text = (RULES / "segments" / f"{name}.yaml").read_text()
    segment = replace(parse_segment(text), tests=())
    catalog = load_rules(RULES).catalog
    assert read_sql(print_sql(segment, catalog)).segment == segment


A = Compare(Trait("a"), "eq", "x")


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(reduce(lambda part, _: Not(part), range(64), A), id="64 deep"),
        pytest.param(reduce(lambda p, _: AllOf((p, A)), range(60), A), id="60 parentheses"),
        pytest.param(
            reduce(lambda p, _: AnyOf((AllOf((p, Compare(Measure("count", "e"), "gt", Decimal(2)))),
            A)), range(31), A), id="60 statements in each other",
        ),
        pytest.param(AllOf((A,) * 499), id="500 conditions"),
        pytest.param(
            AllOf(
                tuple(
                    Compare(Measure("count", "e", window=Within(n * DAY, HOUR)), "gt", Decimal(n))
                    for n in range(5, 200)
                )
            ),
            id="200 statements",
        ),
        pytest.param(
            Compare(Trait("a"), "in", tuple(f"v{n}" for n in range(2_500))), id="2,500 values"
        ),
    ],
)  # fmt: skip
def test_large_rules_print_and_read(condition: Condition) -> None:
    segment = Segment(id="x", condition=condition)
    assert read_sql(print_sql(segment)).segment == segment


def test_a_rule_too_long_for_sql_is_refused() -> None:
    values = tuple(f"value number {n}" for n in range(3_000))
    with pytest.raises(RuleError, match=r"longer than .* \[HR400\]"):
        print_sql(Segment(id="x", condition=Compare(Trait("a"), "in", values)))


@looking(60)
@given(segments())
def test_conditions_are_counted_as_in_yaml(segment: Segment) -> None:
    reading = Reading("x", zone=segment.timezone)
    node = read_node(print_condition(segment.condition), "x", [])
    assert node is not None and read_condition(reading, node, ()) == segment.condition
    assert len(depths_of(replace(segment, stay=None))) == reading.nodes


def test_the_catalog_tells_arrays_and_instants() -> None:
    condition = from_yaml(
        "{all: [{trait: tags, contains: a}, {trait: country, contains: a}, "
        "{trait: signed_up, eq: 2026-01-01}]}"
    )
    segment = Segment(id="x", condition=condition)
    assert "array_contains(tags, 'a') AND country LIKE '%a%'" in print_sql(segment, CATALOG)
    assert "signed_up = DATE '2026-01-01'" in print_sql(segment, CATALOG)
    assert "tags LIKE '%a%'" in print_sql(segment)


def test_places_of_what_the_catalog_does_not_know() -> None:
    text = (
        "-- id: x\nSELECT user_id FROM profiles WHERE contry <> 'DE'\nINTERSECT\n"
        "SELECT user_id FROM purchase\nWHERE skku = 'a' AND amount = 'b'\nGROUP BY user_id\n"
        "HAVING sum(amout) > 1\nEXCEPT\nSELECT user_id FROM purchas\nUNION\n"
        "SELECT user_id FROM condition('{did: purchase, where: {page: ''x''}}')\n"
    )
    read = read_sql(text, "x.sql")
    assert read.segment is not None and not read.problems
    found = check_segment(read.segment, CATALOG, read.places)
    places = {(p.place.line, p.place.column, p.code) for p in found}
    assert places == {
        (2, 36, "HR202"), (5, 7, "HR203"), (5, 31, "HR206"), (7, 12, "HR203"), (9, 21, "HR201"),
        (11, 56, "HR203"),
    }  # fmt: skip


def test_all_problems_come_at_once_in_the_order_of_the_text() -> None:
    read = read_sql(
        "-- id: X y\n-- ownr: me\n-- stay: {min_dwel: 1 hour}\n-- timezone: Europe/Berln\n"
        "SELECT user_id FROM purchase WHERE amount = NULL AND sku LIKE 'a_'\nGROUP BY sku\n"
        "HAVING amount > 1\n-- owner: me\n",
        "x.sql",
    )
    assert [str(problem) for problem in read.problems] == [
        "x.sql:1:8: id 'X y' is not a to z, 0 to 9 and _, from a letter, at most 63 "
        "(did you mean 'x_y'?) [HR111]",
        "x.sql:2:4: unknown key 'ownr' in the header (did you mean 'owner'?) [HR404]",
        "x.sql:3:11: unknown key 'min_dwel' in 'stay' (did you mean 'min_dwell'?) [HR108]",
        "x.sql:4:14: unknown timezone 'Europe/Berln' (did you mean 'Europe/Berlin'?) [HR117]",
        "x.sql:5:36: nothing compares with NULL (write IS NULL, IS NOT NULL or IS DISTINCT FROM) "
        "[HR409]",
        "x.sql:5:63: LIKE 'a_': only 'x', 'x%', '%x' and '%x%' are part of the rule language "
        "(use RLIKE for other patterns) [HR410]",
        "x.sql:6:10: rows are grouped by user_id, not by 'sku' [HR406]",
        "x.sql:7:8: HAVING compares aggregates, not 'amount' (put it into WHERE) [HR406]",
        "x.sql:8:1: '-- owner:' stands above the statement, not in it [HR404]",
    ]


def test_a_folder_may_hold_both_spellings(tmp_path: Path) -> None:
    folder = write_rules(tmp_path, {"spender": "{did: purchase}"})
    (folder / "segments" / "german.sql").write_text(
        "-- id: german\nSELECT user_id FROM profiles WHERE country = 'DE'\n"
    )
    rules = load_rules(folder)
    assert [segment.id for segment in rules.segments] == ["german", "spender"] and not rules.errors
    (folder / "segments" / "german.sql").write_text("-- id: spender\nSELECT user_id FROM purchas\n")
    assert {problem.code for problem in load_rules(folder).errors} == {"HR201", "HR301"}


def test_stay_alone_is_kept() -> None:
    segment = Segment(id="x", condition=A, stay=Stay(cooldown=5 * MINUTE))
    assert read_sql(print_sql(segment)).segment == segment
