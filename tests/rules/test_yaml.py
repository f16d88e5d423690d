"""Spellings of one meaning, and what prints them."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import reduce
from pathlib import Path

import pytest
import yaml as any_yaml

from headrace.clock import DAY, HOUR, MINUTE, SECOND
from headrace.rules.catalog import Catalog, EventType, Field
from headrace.rules.folder import load_rules
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Measure,
    Not,
    Property,
    Segment,
    Span,
    Trait,
    Within,
)
from headrace.rules.yaml import (
    canonical,
    content_hash,
    parse_catalog,
    parse_segment,
    print_catalog,
    print_segment,
)

RULES = Path(__file__).parents[2] / "rules"
HEAD = "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: x}\nspec:\n  match: "


def parsed(match: str) -> Condition:
    return parse_segment(HEAD + match).condition


def count(within: int | None = None, hop: int | None = None) -> Measure:
    if within is None:
        return Measure("count", "login")
    return Measure("count", "login", window=Within(within, hop or MINUTE))


ONE = Decimal(1)
A = Compare(Property("a"), "eq", "x")
B = Compare(Property("b"), "eq", Decimal("1.5"))


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param("{did: login}", Compare(count(), "gte", ONE), id="did"),
        pytest.param("{did_not: login}", Compare(count(), "eq", Decimal(0)), id="did not"),
        pytest.param(
            "{event: login, count: true, gte: 1.0}", Compare(count(), "gte", ONE), id="long did"
        ),
        *[
            pytest.param(
                f"{{did: login, within: {text}}}",
                Compare(count(length), "gte", ONE),
                id=f"within {text}",
            )
            for text, length in {
                "90 seconds": 90 * SECOND, "90s": 90 * SECOND, "2 min": 2 * MINUTE,
                "1 minute": MINUTE, "1m": MINUTE, "2 Hours": 2 * HOUR, "1 hour": HOUR,
                "3h": 3 * HOUR,
            }.items()
        ],
        *[
            pytest.param(
                f"{{did: login, within: {text}}}",
                Compare(count(30 * DAY, HOUR), "gte", ONE),
                id=f"within {text}",
            )
            for text in ("30 days", "30d", "30 day", "30days", "720 hours", "720h", '"30 days"')
        ],
        pytest.param(
            "{did: login, within: 2w}", Compare(count(14 * DAY, HOUR), "gte", ONE), id="weeks"
        ),
        pytest.param(
            "{did: login, within: 1 minute, resolution: 5s}",
            Compare(count(MINUTE, 5 * SECOND), "gte", ONE),
            id="resolution narrows the hop",
        ),
        pytest.param(
            "{did: login, since: 1970-01-02}",
            Compare(Measure("count", "login", window=Span(DAY)), "gte", ONE),
            id="since",
        ),
        pytest.param(
            "{event: login, count: true, between: [1970-01-02, 1970-01-03T01:00:00+01:00], gte: 1}",
            Compare(Measure("count", "login", window=Span(DAY, 2 * DAY)), "gte", ONE),
            id="between two instants",
        ),
        pytest.param(
            "{event: login, count: true, between: [1, 2]}",
            Compare(Measure("count", "login"), "between", (ONE, Decimal(2))),
            id="between two numbers",
        ),
        pytest.param(
            "{did: login, where: {a: x, b: 1.50}}",
            Compare(Measure("count", "login", None, AllOf((A, B))), "gte", ONE),
            id="equality map",
        ),
        pytest.param(
            "{did: login, where: {all: [{property: a, eq: x}, {property: b, eq: 1.5}]}}",
            Compare(Measure("count", "login", None, AllOf((A, B))), "gte", ONE),
            id="the same as logic",
        ),
        pytest.param(
            "{did: login, where: {a: x}}",
            Compare(Measure("count", "login", None, A), "gte", ONE),
            id="one equality",
        ),
        pytest.param(
            "{did: login, where: {any: [{property: a, eq: x}, {not: {property: b, eq: 1.5}}]}}",
            Compare(Measure("count", "login", None, AnyOf((A, Not(B)))), "gte", ONE),
            id="a filter with logic",
        ),
        pytest.param(
            "{none: [{trait: t, exists: true}]}",
            Not(AnyOf((Compare(Trait("t"), "exists", True),))),
            id="none",
        ),
        pytest.param(
            "{trait: t, in: [NO, yes, 'true', 007, 1e3, ~x, 2026-01-01]}",
            Compare(
                Trait("t"), "in", ("NO", "yes", "true", "007", Decimal(1000), "~x", "2026-01-01")
            ),
            id="texts stay texts",
        ),
        pytest.param(
            "{trait: t, after: -3 days}", Compare(Trait("t"), "after", Ago(3 * DAY)), id="ago"
        ),
        pytest.param(
            "{trait: t, before: +2h}", Compare(Trait("t"), "before", Ago(-2 * HOUR)), id="ahead"
        ),
        pytest.param(
            "{trait: t, eq: -3 days}", Compare(Trait("t"), "eq", "-3 days"), id="a text elsewhere"
        ),
    ],
)  # fmt: skip
def test_spellings(match: str, expected: Condition) -> None:
    assert parsed(match) == expected
    segment = Segment(id="x", condition=expected)
    assert parse_segment(print_segment(segment)) == segment


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(
            Compare(Trait("t"), "in", tuple(f"value number {i}" for i in range(300))),
            id="a list of three hundred",
        ),
        pytest.param(Compare(Trait("t"), "eq", "x" * 5_000 + " é\n"), id="a text of pages"),
        pytest.param(
            reduce(lambda part, _: Not(part), range(64), Compare(Trait("t"), "eq", "x")),
            id="as deep as it goes",
        ),
        pytest.param(
            AllOf(
                tuple(
                    Compare(Measure("count", "login", None, AnyOf((A, B, Not(A)))), "gt", ONE)
                    for _ in range(80)
                )
            ),
            id="nearly as wide as it goes",
        ),
        pytest.param(
            Compare(Measure("count", "login", None, AllOf((A,))), "gt", ONE), id="one in all"
        ),
        pytest.param(
            Compare(
                Measure("count", "login", None, Compare(Property("any"), "eq", "x")), "gt", ONE
            ),
            id="a property named any",
        ),
        pytest.param(Compare(Trait("gt: 5"), "eq", "- a"), id="a trait with an odd name"),
    ],
)
def test_printing_is_undone_by_parsing(condition: Condition) -> None:
    segment = Segment(id="x", condition=condition)
    assert parse_segment(print_segment(segment)) == segment


@pytest.mark.parametrize("tabs", [False, True], ids=["with spaces", "with tabs"])
def test_json_is_yaml(tabs: bool) -> None:
    tree = {
        "apiVersion": "headrace/v1",
        "kind": "Segment",
        "metadata": {"id": "x", "name": 'a/b \u2028 é 😀 "q"'},
        "spec": {"match": {"trait": "country", "in": ["DE", "NO"]}},
    }
    text = json.dumps(tree, indent="\t" if tabs else 1).replace("/b", "\\/b")
    segment = parse_segment(text)
    assert segment.name == tree["metadata"]["name"]  # type: ignore[index]
    assert segment.condition == Compare(Trait("country"), "in", ("DE", "NO"))
    assert parse_segment(print_segment(segment)) == segment


def test_the_hash_is_of_the_meaning() -> None:
    plain = parse_segment(HEAD + "{event: login, count: true, within: 30 days, gte: 5}")
    other = parse_segment(
        "# a comment\nkind: Segment\napiVersion: headrace/v1\nspec:\n  refresh: continuous\n"
        "  match:\n    count: true\n    gte: 5.0\n    within: 720h\n    resolution: 1 hour\n"
        "    event: 'login'\nmetadata:\n  id: x\n"
        "tests: [{name: t, events: [], expect: [{user: a, at: 2026-01-01, member: false}]}]\n"
    )
    assert other.tests and content_hash(plain) == content_hash(other)
    changed = parse_segment(HEAD + "{event: login, count: true, within: 30 days, gte: 6}")
    assert content_hash(plain) != content_hash(changed)


def test_the_hash_never_changes() -> None:
    """Stored versions are compared by it: a new way to print would make them all new."""
    segment = parse_segment((RULES / "segments" / "high_value.yaml").read_text())
    assert canonical(segment) == (
        "apiVersion: headrace/v1\n"
        "kind: Segment\n"
        "metadata:\n"
        "  id: high_value\n"
        "  name: High value\n"
        "  owner: growth\n"
        "  description: Big recent spenders\n"
        "  tags: [revenue]\n"
        "spec:\n"
        "  match:\n"
        "    all:\n"
        "      - {event: purchase, sum: amount, within: 30 days, gt: 1000}\n"
        "      - {event: purchase, count: true, within: 30 days, gt: 5}\n"
        "  timezone: Europe/Berlin\n"
    )
    assert content_hash(segment).startswith("61b77755075cdfa0")


@pytest.mark.parametrize("name", sorted(path.stem for path in RULES.glob("segments/*.yaml")))
def test_our_own_rules_read_the_same_after_printing(name: str) -> None:
    segment = parse_segment((RULES / "segments" / f"{name}.yaml").read_text())
    assert segment.id == name
    assert parse_segment(print_segment(segment)) == segment


def test_other_readers_understand_what_we_print() -> None:
    texts = ("NO", "yes", "1", "1e3", "", " a", "a: b", "a #b", "-", "2026-01-01", "~", "x\ny", "=")
    segment = Segment(id="x", name="on", condition=Compare(Trait("country"), "in", texts))
    tree = any_yaml.safe_load(print_segment(segment))
    assert tree["metadata"]["name"] == "on"
    assert tuple(tree["spec"]["match"]["in"]) == texts


def test_catalogs_print_and_parse() -> None:
    catalog = load_rules(RULES).catalog
    assert parse_catalog(print_catalog(catalog)) == catalog
    odd = Catalog(
        {
            "order: paid": EventType({"no": Field("decimal", "€", True, "a # b")}, "true"),
            "sold": EventType(publish=True),
        },
        {"1": Field("array<string>")},
        properties_mode="freeze",
        events_mode="quarantine",
    )
    assert parse_catalog(print_catalog(odd)) == odd
    assert parse_catalog(print_catalog(Catalog())) == Catalog()
