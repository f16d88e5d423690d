"""The segments under rules/: each sound, canonical, exemplified, and the same to both engines."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from headrace.cli import main
from headrace.clock import DAY, HOUR, MINUTE, format_instant, parse_instant
from headrace.engine.evaluate import evaluate
from headrace.rules.catalog import LIST, Field
from headrace.rules.folder import load_rules
from headrace.rules.model import Segment
from headrace.rules.printer import print_segment
from headrace.rules.reference import reference_members
from headrace.rules.rehearsal import rehearse
from headrace.rules.sql import print_sql, read_sql
from headrace.rules.yaml import parse_segment

RULES: Final = Path(__file__).parents[2] / "rules"
LIBRARY: Final = load_rules(RULES)
FILES: Final = {
    path.stem: path for path in (RULES / "segments").iterdir() if path.suffix in (".yaml", ".sql")
}
MIDNIGHT: Final = parse_instant("2026-02-28T23:00:00Z")  # in Berlin, and March begins there
USERS: Final = [f"user-{number:03d}" for number in range(160)]
VISITORS: Final = [f"visitor-{number}" for number in range(40)]

# What rules ask for, and what is next to it.
POOLS: Final = {
    "page": ("/pricing", "/sale", "/pricing/faq", "/help"),
    "category": ("shoes", "books", "garden", "toys", "kitchen"),
    "device": ("phone", "desktop"),
    "query": ("gift for dad", "Gift card", "tent"),
    "topic": ("complaint: parcel", "question", "invoice"),
    "section": ("politics", "science", "sports"),
    "country": ("DE", "NO", "US", "GB"),
    "email": ("a@example.org", "b@localhost"),
    "age": (17, 18, 24, 29, 30),
    "tags": (["newsletter"], ["vip", "beta"], ["student"]),
    "minutes": (12.5, 59.9999, 60, 120),
    "seconds": (4.9999, 5, 40),
}


def printed(segment: Segment) -> str:
    return print_segment(replace(segment, tests=()))


def test_there_are_twenty_five_and_about_half_are_in_sql() -> None:
    assert sorted(FILES) == [segment.id for segment in LIBRARY.segments]
    in_sql = [path for path in FILES.values() if path.suffix == ".sql"]
    assert len(FILES) == 25
    assert 12 <= len(in_sql) <= 13


def test_nothing_is_wrong_or_odd_about_them() -> None:
    assert [str(problem) for problem in LIBRARY.problems] == []


def test_all_are_written_as_they_are_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--check", str(RULES)]) == 0
    assert capfd.readouterr() == ("", "")


def test_all_examples_hold() -> None:
    failed = [str(outcome) for outcome in rehearse(LIBRARY) if outcome.failure is not None]
    assert not failed


@pytest.mark.parametrize("segment", LIBRARY.segments, ids=lambda segment: segment.id)
def test_each_says_what_it_is_and_shows_who_is_in_and_who_nearly_is(segment: Segment) -> None:
    assert segment.name and segment.owner and segment.description and segment.tags
    shown = defaultdict(set)
    for outcome in rehearse(LIBRARY, segment.id):
        if outcome.segment == segment.id:
            shown[outcome.expected.member].add(outcome.trial)
    assert shown.keys() == {True, False}
    assert len(shown[True] | shown[False]) >= 2


@pytest.mark.parametrize("segment", LIBRARY.segments, ids=lambda segment: segment.id)
def test_each_converts_to_the_other_spelling_and_back(segment: Segment) -> None:
    untested = replace(segment, tests=())
    as_sql = read_sql(print_sql(untested, LIBRARY.catalog))
    assert as_sql.segment == untested and not as_sql.problems
    assert parse_segment(print_segment(as_sql.segment)) == untested
    assert parse_segment(print_segment(segment)) == segment


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(r"sum: \w+, within: 30 days", id="a sum in a window"),
        pytest.param(r"days_active: true", id="active days"),
        pytest.param(r"distinct: category", id="distinct values"),
        pytest.param(r"last: device", id="the last value"),
        pytest.param(r"period: today[^#]*timezone: America/New_York", id="today in a time zone"),
        pytest.param(r"period: this_month", id="a calendar month"),
        pytest.param(r"trait: trial_ends, before: \+3 days", id="an instant ahead"),
        pytest.param(r"- \{not: purchase, within: 1 hour\}\n    within", id="a last not"),
        pytest.param(r"- \{event: add_to_cart, within: 30 minutes\}", id="a gap"),
        pytest.param(r"sample: ", id="a sample"),
        pytest.param(r"list: vip", id="a list"),
        pytest.param(r"segment: \w+(.|\n)*not: \{segment: ", id="a segment without another"),
        pytest.param(r"stay:\n    exit_when: ", id="a stay"),
    ],
)
def test_every_form_has_an_example(form: str) -> None:
    assert any(re.search(form, printed(segment)) for segment in LIBRARY.segments)


def history(seed: int) -> list[bytes]:
    """What many users did: all that the catalog knows, most of it lately, some of it twice."""
    choose = random.Random(seed)
    lines: list[dict[str, Any]] = []
    kinds = ("traits", *LIBRARY.catalog.events)
    for number in range(4_500):
        person = int(len(USERS) * choose.random() ** 2)
        # Everybody has a favourite, and leaves the one before it alone: many rules are about who
        # did something often, or did not do it.
        never, favourite = person % len(kinds), (person + 1) % len(kinds)
        others = [*kinds[:never], *kinds[never + 1 :]]
        kind = kinds[favourite] if choose.random() < 0.5 else choose.choice(others)
        user = USERS[person] if choose.random() < 0.96 else choose.choice(VISITORS)
        lines.append(_fact(choose, kind, user, f"e{number}"))
    for visitor in VISITORS[:25]:
        joined = choose.choice(USERS)
        ts = _instant(choose)
        lines.append({"type": "alias", "from": visitor, "to": joined, "ts": ts})
    lines += [
        {"type": "delete", "user_id": user, "ts": _instant(choose)}
        for user in choose.sample(USERS, 5)
    ]
    lines += [
        {"type": "traits", "user_id": user, "ts": 0, "traits": {f"{LIST}vip": True}}
        for user in choose.sample(USERS, 30)
    ]
    lines += choose.sample(lines, 50)
    choose.shuffle(lines)
    return [orjson.dumps(line) for line in lines]


def _fact(choose: random.Random, kind: str, user: str, event_id: str) -> dict[str, Any]:
    ts = _instant(choose)
    line = {"type": kind, "user_id": user, "ts": format_instant(ts), "event_id": event_id}
    if kind == "traits":
        return {**line, "traits": dict(_fields(choose, LIBRARY.catalog.traits, ts))}
    known = LIBRARY.catalog.events[kind].properties
    return {**line, "properties": dict(_fields(choose, known, ts))}


def _instant(choose: random.Random) -> int:
    """Up to 100 days ago, many of late; one in eight on the hour, where windows end."""
    ago = int(100 * DAY * choose.random() ** 3)
    instant = MIDNIGHT - ago + choose.choice((0, 0, 0, MINUTE))
    return instant // HOUR * HOUR if choose.random() < 0.125 else instant


def _fields(
    choose: random.Random, known: Mapping[str, Field], ts: int
) -> Iterator[tuple[str, Any]]:
    for name, field in known.items():
        if choose.random() < 0.8:
            yield name, None if choose.random() < 0.05 else _value(choose, name, field, ts)


def _value(choose: random.Random, name: str, field: Field, ts: int) -> Any:
    if name in POOLS:
        return choose.choice(POOLS[name])
    match field.type:
        case "decimal":
            return choose.choice((round(choose.lognormvariate(3.6, 1.5), 2), 25, 50, 300))
        case "integer":
            return choose.randrange(6)
        case "boolean":
            return choose.random() < 0.7
        case "timestamp":
            return ts + choose.randrange(-20 * DAY, 20 * DAY)
        case _:
            return f"{name}-{choose.randrange(4)}"


def test_the_kernel_says_what_the_reference_says() -> None:
    lines = history(seed=25)
    sizes: dict[str, list[int]] = defaultdict(list)
    for at in (MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 30 * DAY):
        expected = reference_members(lines, LIBRARY.segments, LIBRARY.catalog, at)
        assert evaluate(lines, LIBRARY.segments, LIBRARY.catalog, at) == expected
        counted = Counter(segment for segment, _ in expected)
        for segment in LIBRARY.segments:
            sizes[segment.id].append(counted[segment.id])
    # Segments of nobody, or of everybody, would prove nothing.
    assert all(max(size) > 0 and min(size) < len(USERS) for size in sizes.values()), sizes
