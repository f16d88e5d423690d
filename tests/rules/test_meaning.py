"""Conditions that say nothing, and rules that say what others do: what is found, and what not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headrace.clock import HOUR
from headrace.errors import Problem
from headrace.rules.documents import read_segment
from headrace.rules.meaning.check import check_meaning
from headrace.rules.model import AllOf, Condition, InSegment, Segment, Stay
from headrace.rules.source import Rules
from headrace.rules.sql import read_sql
from rule_folders import segment
from strategies import CATALOG


def condition(match: str) -> Condition:
    read = read_segment(segment("x", match))
    assert read.segment is not None and not read.problems, read.problems
    return read.segment.condition


def told(*matches: str, **stays: Stay) -> tuple[Problem, ...]:
    """The warnings about segments a, b, c, .. with these conditions."""
    segments, places = [], {}
    for name, match in zip("abcdef", matches, strict=False):
        read = read_segment(segment(name, match), f"{name}.yaml")
        assert read.segment is not None and not read.problems, read.problems
        segments.append(replace(read.segment, stay=stays.get(name)))
        places[name] = read.places
    found = check_meaning(Rules(CATALOG, tuple(segments), (), places))
    assert all(problem.severity == "warning" for problem in found)
    return found


ORDERS = "event: purchase, count: true"
NEVER, ALWAYS, USELESS = "HR310", "HR311", "HR312"

FOUND = [
    # One measure, held against several constants.
    (f"{{all: [{{{ORDERS}, gte: 5}}, {{{ORDERS}, lt: 3}}]}}", NEVER, "at least 5, but below 3"),
    (f"{{all: [{{{ORDERS}, gt: 2}}, {{{ORDERS}, lt: 3}}]}}", NEVER, "nothing between 2 and 3"),
    ("{all: [{did: login}, {did_not: login}]}", NEVER, "did and did not"),
    (f"{{any: [{{{ORDERS}, gte: 3}}, {{{ORDERS}, lt: 5}}]}}", ALWAYS, "from 3 or below 5"),
    ("{any: [{did: login}, {did_not: login}]}", ALWAYS, "did or did not"),
    ("{event: purchase, count: true, exists: false}", NEVER, "a count always exists"),
    ("{event: purchase, sum: amount, exists: true}", ALWAYS, "so does a sum"),
    ("{event: login, days_active: true, within: 7 days, gt: 8}", NEVER, "nine days in a week"),
    ("{event: purchase, distinct: sku, lt: 0}", NEVER, "fewer than none"),
    (
        "{all: [{event: purchase, avg: amount, gt: 2}, {event: purchase, avg: amount, lt: 2}]}",
        NEVER,
        "an average above and below",
    ),
    (f"{{all: [{{{ORDERS}, gte: 3}}, {{{ORDERS}, gte: 5}}]}}", USELESS, "from 3 and from 5"),
    (f"{{any: [{{{ORDERS}, gte: 3}}, {{{ORDERS}, gte: 5}}]}}", USELESS, "from 3 or from 5"),
    ("{all: [{did: login}, {did: login}]}", USELESS, "the same twice"),
    # Windows in windows.
    (
        "{all: [{did: login, within: 7 days}, {did_not: login, within: 30 days}]}",
        NEVER,
        "within a week but not within a month",
    ),
    (
        f"{{all: [{{{ORDERS}, within: 30 days, gte: 5}}, {{{ORDERS}, lt: 5}}]}}",
        NEVER,
        "more within a month than ever",
    ),
    ("{all: [{did: login, within: 7 days}, {did: login}]}", USELESS, "recently, and ever"),
    (
        "{all: [{did: login, period: today}, {did_not: login, period: this_week}]}",
        NEVER,
        "today but not this week",
    ),
    (
        "{all: [{did: login, between: [2026-01-01, 2026-02-01]}, {did_not: login, "
        "since: 2026-01-01}]}",
        NEVER,
        "in January but not since",
    ),
    (
        "{all: [{event: purchase, max: amount, within: 7 days, gt: 100}, "
        "{event: purchase, max: amount, within: 30 days, lt: 50}]}",
        NEVER,
        "a greater maximum in the narrow window",
    ),
    (
        "{all: [{event: purchase, min: amount, within: 7 days, lt: 50}, "
        "{event: purchase, min: amount, within: 30 days, gt: 100}]}",
        NEVER,
        "a smaller minimum in the narrow window",
    ),
    # Measures of the same events.
    (
        "{all: [{event: purchase, min: amount, gt: 9}, {event: purchase, max: amount, lt: 5}]}",
        NEVER,
        "a minimum above the maximum",
    ),
    (
        "{all: [{event: purchase, avg: amount, gt: 9}, {event: purchase, max: amount, lte: 9}]}",
        NEVER,
        "an average above the maximum",
    ),
    (
        "{all: [{event: purchase, sum: amount, gt: 9}, {did_not: purchase}]}",
        NEVER,
        "a sum of nothing",
    ),
    (
        "{all: [{event: login, days_active: true, gte: 3}, {event: login, count: true, lt: 3}]}",
        NEVER,
        "more days than events",
    ),
    (
        "{all: [{event: purchase, last: sku, eq: a}, {did_not: purchase}]}",
        NEVER,
        "a last one of none",
    ),
    (
        "{all: [{did_not: purchase}, {event: purchase, max: amount, exists: false}]}",
        USELESS,
        "nothing has no maximum",
    ),
    # Filters.
    (
        "{all: [{did: purchase, where: {sku: a}}, {did_not: purchase}]}",
        NEVER,
        "some of a kind, but none at all",
    ),
    (
        "{all: [{event: purchase, count: true, where: {sku: a, gift: true}, gte: 3}, "
        "{event: purchase, count: true, where: {sku: a}, lt: 3}]}",
        NEVER,
        "a narrower filter with more",
    ),
    (
        "{all: [{did: purchase, where: {property: amount, gt: 9}}, "
        "{did_not: purchase, where: {property: amount, gt: 5}}]}",
        NEVER,
        "above 9, but not above 5",
    ),
    (
        "{did: purchase, where: {all: [{property: amount, gt: 9}, {property: amount, lt: 5}]}}",
        NEVER,
        "a filter that nothing passes",
    ),
    (
        "{did: purchase, where: {any: [{property: sku, exists: true}, "
        "{property: sku, exists: false}]}}",
        ALWAYS,
        "a filter that all pass",
    ),
    (
        "{did: purchase, where: {all: [{property: sku, in: [a, b]}, {property: sku, eq: a}]}}",
        USELESS,
        "a filter said twice",
    ),
    # Traits.
    (
        "{all: [{trait: country, eq: DE}, {trait: country, eq: FR}]}",
        NEVER,
        "two countries at once",
    ),
    (
        "{all: [{trait: country, in: [DE, FR]}, {trait: country, not_in: [DE, FR, IT]}]}",
        NEVER,
        "in a list and not in a longer one",
    ),
    ("{all: [{trait: age, exists: false}, {trait: age, gt: 3}]}", NEVER, "missing, but compared"),
    ("{all: [{trait: age, exists: true}, {trait: age, gt: 3}]}", USELESS, "what is there exists"),
    ("{any: [{trait: country, eq: DE}, {trait: country, ne: DE}]}", ALWAYS, "a country or not"),
    (
        "{all: [{trait: country, starts_with: DE}, {trait: country, starts_with: FR}]}",
        NEVER,
        "two beginnings",
    ),
    (
        "{all: [{trait: country, eq: DE}, {trait: country, matches: '^F'}]}",
        NEVER,
        "a constant that does not match",
    ),
    ("{trait: age, eq: 2.5}", NEVER, "half a year of age"),
    (
        "{all: [{trait: tags, contains_all: [a, b]}, {trait: tags, not_contains: a}]}",
        NEVER,
        "all of these, without the first",
    ),
    (
        "{all: [{trait: signed_up, after: -3 days}, {trait: signed_up, before: -7 days}]}",
        NEVER,
        "within three days and before a week",
    ),
    (
        "{all: [{trait: signed_up, after: -3 days}, {trait: signed_up, exists: false}]}",
        NEVER,
        "an age of nothing",
    ),
    # Samples, lists, references, sequences.
    (
        "{all: [{sample: {percent: 10, salt: x}}, {not: {sample: {percent: 20, salt: x}}}]}",
        NEVER,
        "a tenth that is no part of a fifth",
    ),
    ("{all: [{sample: {percent: 10}}, {sample: {percent: 20}}]}", USELESS, "a tenth of a fifth"),
    ("{sample: {percent: 100}}", ALWAYS, "a sample of all"),
    ("{all: [{list: vip}, {not: {list: vip}}]}", NEVER, "on a list and not"),
    (
        "{all: [{sequence: [{event: login}, {event: purchase}], within: 7 days}, "
        "{did_not: purchase, within: 30 days}]}",
        NEVER,
        "a sequence of what did not happen",
    ),
    (
        "{all: [{sequence: [{event: login}, {event: purchase}]}, {did_not: login}]}",
        NEVER,
        "a sequence without its first step",
    ),
    # Logic.
    (
        "{all: [{did: login}, {all: [{trait: age, gt: 3}, {did_not: login}]}]}",
        NEVER,
        "through nested alls",
    ),
    (
        "{none: [{trait: age, gt: 3}, {trait: age, lte: 3}, {trait: age, exists: false}]}",
        NEVER,
        "none of everything",
    ),
    (
        "{all: [{did: login}, {any: [{did_not: login}, {trait: age, gt: 3}]}]}",
        NEVER,
        "one way of an any that is shut",
    ),
]

FINE = [
    (f"{{all: [{{{ORDERS}, gte: 3}}, {{{ORDERS}, lt: 5}}]}}", "a range"),
    (f"{{any: [{{{ORDERS}, lt: 3}}, {{{ORDERS}, gte: 5}}]}}", "two ranges"),
    ("{all: [{did: login}, {did_not: login, within: 14 days}]}", "ever, but not lately"),
    (
        "{all: [{did: login, within: 7 days, resolution: 1 day}, "
        "{did_not: login, within: 7 days, resolution: 1 minute}]}",
        "a coarse hop keeps what a fine one has let go",
    ),
    (
        "{all: [{did: login, period: this_week}, {did_not: login, period: this_month}]}",
        "a week that began last month",
    ),
    (
        "{all: [{event: purchase, sum: amount, within: 7 days, gt: 9}, "
        "{event: purchase, sum: amount, within: 30 days, lt: 9}]}",
        "refunds make a longer sum smaller",
    ),
    (
        "{all: [{event: purchase, sum: amount, eq: 0}, {did: purchase}]}",
        "a sum of nought of something",
    ),
    (
        "{all: [{event: purchase, max: amount, exists: false}, {did: purchase}]}",
        "an order without an amount",
    ),
    (
        "{all: [{event: purchase, avg: amount, gt: 2}, "
        "{event: purchase, avg: amount, lt: 2.0001}]}",
        "an average between two constants",
    ),
    (
        "{all: [{event: purchase, max: items, gt: 2}, {event: purchase, avg: items, lt: 2}]}",
        "an average below the maximum",
    ),
    ("{all: [{trait: score, gt: 2}, {trait: score, lt: 2.5}]}", "decimals between integers"),
    ("{any: [{trait: age, gte: 3}, {trait: age, lt: 3}]}", "a missing age is neither"),
    (
        "{all: [{trait: country, exists: true}, {trait: country, ne: DE}]}",
        "a missing one is not DE",
    ),
    (
        "{all: [{trait: country, contains: a}, {trait: country, contains: b}]}",
        "two parts of one text",
    ),
    (
        "{all: [{trait: tags, contains: a}, {trait: tags, contains: b}]}",
        "two elements of one list",
    ),
    (
        "{all: [{did: purchase, where: {sku: a}}, "
        "{did_not: purchase, where: {sku: a, gift: true}}]}",
        "a narrower filter with fewer",
    ),
    (
        "{all: [{did: purchase, where: {sku: a}}, {did: purchase, where: {sku: b}}]}",
        "two orders",
    ),
    (
        "{all: [{sample: {percent: 10, salt: x}}, {not: {sample: {percent: 20, salt: y}}}]}",
        "two salts",
    ),
    (
        "{all: [{trait: signed_up, after: -3 days}, {trait: signed_up, before: 2026-01-01}]}",
        "what now is nobody knows",
    ),
    (
        "{all: [{sequence: [{event: login}, {event: purchase}], within: 7 days}, "
        "{did_not: login, within: 7 days}]}",
        "the first step may be older than the window",
    ),
    ("{event: login, days_active: true, within: 7 days, gte: 8}", "a week cuts into eight days"),
    ("{all: [{list: vip}, {not: {list: staff}}]}", "two lists"),
]


@pytest.mark.parametrize(
    ("match", "code"), [pytest.param(match, code, id=id) for match, code, id in FOUND]
)
def test_found(match: str, code: str) -> None:
    assert [problem.code for problem in told(match)] == [code]


@pytest.mark.parametrize("match", [pytest.param(match, id=id) for match, id in FINE])
def test_not_found(match: str) -> None:
    assert told(match) == ()


SAME = [
    ("{did: login}", "{event: login, count: true, gt: 0}"),
    ("{did_not: login}", "{not: {did: login}}"),
    (
        "{all: [{trait: age, gt: 3}, {did: login}]}",
        "{none: [{did_not: login}, {not: {trait: age, gte: 4}}]}",
    ),
    (
        "{did: purchase, where: {sku: a, gift: true}}",
        "{did: purchase, where: {all: [{property: gift, eq: true}, {property: sku, in: [a]}]}}",
    ),
    (
        "{trait: tags, contains_any: [a, b]}",
        "{any: [{trait: tags, contains: b}, {trait: tags, contains: a}]}",
    ),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_spellings_of_one_segment(one: str, other: str) -> None:
    (problem,) = told(one, other)
    assert str(problem).startswith("b.yaml:3:16: 'b' means the same as 'a' (see a.yaml:3:16)")
    assert problem.code == "HR314"


PARTS = [
    ("{did: login, within: 7 days}", "{did: login, within: 30 days}"),
    ("{all: [{did: login}, {trait: age, gt: 3}]}", "{did: login}"),
    ("{did: login}", "{any: [{did: login}, {trait: age, gt: 3}]}"),
    ("{any: [{trait: age, eq: 3}, {trait: age, eq: 4}]}", "{trait: age, between: [3, 5]}"),
    (
        "{event: purchase, max: amount, within: 7 days, gt: 5}",
        "{did: purchase, within: 30 days}",
    ),
    ("{sample: {percent: 10}}", "{sample: {percent: 20}}"),
]


@pytest.mark.parametrize(("part", "whole"), PARTS)
def test_a_segment_that_is_part_of_another(part: str, whole: str) -> None:
    (problem,) = told(part, whole)
    assert problem.code == "HR315"
    assert problem.message == "everybody in 'a' is in 'b' too"
    assert not told(part, "{trait: country, eq: DE}")


def test_only_the_nearest_of_wider_segments_is_told() -> None:
    found = told(*(f"{{{ORDERS}, gte: {least}}}" for least in (4, 3, 2, 1)))
    assert [problem.message for problem in found] == [
        "everybody in 'a' is in 'b' too",
        "everybody in 'b' is in 'c' too",
        "everybody in 'c' is in 'd' too",
    ]


def test_who_refers_to_a_segment_knows_of_it() -> None:
    assert told("{did: login}", "{all: [{segment: a}, {trait: age, gt: 3}]}") == ()


def test_what_a_reference_stands_for_is_looked_into() -> None:
    (problem,) = told("{did: login}", "{all: [{segment: a}, {did_not: login}]}")
    assert problem.message == "these never hold together: {segment: a} and {did_not: login}"
    (problem,) = told("{trait: age, gt: 3}", "{all: [{segment: a}, {not: {segment: a}}]}")
    assert problem.code == NEVER


def test_a_segment_that_stays_is_not_its_condition() -> None:
    stay = Stay(min_dwell=HOUR)
    assert told("{did: login}", "{all: [{segment: a}, {did_not: login}]}", a=stay) == ()
    assert told("{did: login}", "{did: login}", a=stay) == ()
    assert [p.code for p in told("{did: login}", "{did: login}", a=stay, b=stay)] == ["HR314"]


def test_nobody_enters_what_all_leave_at_once() -> None:
    (problem,) = told(
        f"{{{ORDERS}, gte: 5}}",
        a=Stay(exit_when=condition(f"{{{ORDERS}, gte: 3}}")),
    )
    assert problem.code == NEVER and problem.message.startswith("nobody ever enters")
    assert told(f"{{{ORDERS}, gte: 5}}", a=Stay(exit_when=condition(f"{{{ORDERS}, lt: 3}}"))) == ()


def test_a_finding_has_the_place_of_the_part_and_quotes_the_others() -> None:
    (problem,) = told(
        "{all: [{did: login}, {trait: age, gt: 3}, {did_not: login, within: 1 day}, "
        "{did_not: login}]}"
    )
    assert str(problem) == (
        "a.yaml:5:85: these never hold together: {did: login} and {did_not: login}"
        " (did you mean any: ?) [HR310]"
    )


def test_only_the_cause_is_told() -> None:
    never = "{all: [{did: login}, {did_not: login}]}"
    assert len(told(f"{{any: [{{all: [{never}, {{trait: age, gt: 3}}]}}, {{not: {never}}}]}}")) == 2
    assert told("{all: [{event: login, count: true, lt: 0}, {did: login}]}") == ()  # HR303 says so


def test_wide_conditions_are_left_alone() -> None:
    ways = ", ".join(
        f"{{all: [{{trait: age, eq: {n}}}, {{trait: score, eq: {n}}}]}}" for n in range(65)
    )
    assert told(f"{{all: [{{any: [{ways}]}}, {{trait: country, eq: DE}}]}}") == ()


def test_deep_conditions_and_long_chains_of_references_are_no_trouble() -> None:
    deep = "{not: " * 64 + "{MATCH}" + "}" * 64
    matches = ["{did: login}", *(f"{{segment: {name}}}" for name in "abcde")]
    assert not told(*(deep.replace("{MATCH}", match) for match in matches[:1]))
    told(*(deep.replace("{MATCH}", match) for match in matches))
    segments = [
        Segment(
            id=f"s{number:04d}",
            condition=AllOf((InSegment(f"s{number + 1:04d}"), condition("{trait: age, gt: 3}"))),
        )
        for number in range(1_500)
    ]
    segments.append(Segment(id="s1500", condition=condition("{did: login}")))
    check_meaning(Rules(CATALOG, tuple(segments)))


def test_what_sql_means_tacitly_is_not_held_against_its_author() -> None:
    query = "SELECT user_id FROM profiles WHERE country <> 'DE' AND country LIKE 'F%'"
    read = read_sql(f"-- id: x\n{query}\n", "x.sql")
    assert read.segment is not None and not read.problems
    found = check_meaning(Rules(CATALOG, (read.segment,), (), {"x": read.places}))
    assert [problem.message for problem in found] == [
        "{trait: country, ne: DE} adds nothing: it follows from {trait: country, starts_with: F}"
    ]
