"""What rules mean, one row at a time: the semantics as a table over the oracle and the kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.clock import parse_instant
from headrace.engine.evaluate import evaluate
from headrace.rules.reference import explain_user, reference_members
from headrace.rules.yaml import parse_segment
from strategies import CATALOG

AT = parse_instant("2026-03-15T12:00:00Z")
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


def rule(match: str, name: str = "s") -> Any:
    head = f"apiVersion: headrace/v1\nkind: Segment\nmetadata: {{id: {name}}}\nspec:\n  match: "
    return parse_segment(head + match)


def buy(ts: int = AT, user: str = "ann", id: str | None = None, **properties: Any) -> str:
    event_id = id or f"{ts}-{sorted(properties.items())}"
    line = {"event_id": event_id, "user_id": user, "type": "purchase", "ts": ts}
    return json.dumps({**line, "properties": properties})


def traits(ts: int = AT, user: str = "ann", **traits: Any) -> str:
    return json.dumps({"type": "traits", "user_id": user, "ts": ts, "traits": traits})


def alias(source: str, target: str, ts: int = AT) -> str:
    return json.dumps({"type": "alias", "from": source, "to": target, "ts": ts})


def delete(user: str, ts: int = AT) -> str:
    return json.dumps({"type": "delete", "user_id": user, "ts": ts})


def raw(properties: str) -> str:
    line = '{"event_id":"raw","user_id":"ann","type":"purchase","ts":AT,"properties":PROPERTIES}'
    return line.replace("AT", str(AT)).replace("PROPERTIES", properties)


def members(match: str, *lines: str | bytes, at: int = AT) -> list[str]:
    found = reference_members(lines, [rule(match)], CATALOG, at)
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    assert evaluate(raw, [rule(match)], CATALOG, at) == found
    return [user for _, user in found]


WEEK = "{did: purchase, within: 7 days}"  # hop one hour
FEW = "{did: purchase, within: 1 minute, resolution: 5s}"
JANUARY = parse_instant("2026-01-01")
NIGHT = parse_instant("2026-03-14")
DAYS = "{event: purchase, days_active: true, within: 7 days, gte: 3}"
SINCE = "{did: purchase, since: 2026-01-01}"
SPAN = "{did: purchase, between: [2026-01-01, 2026-02-01T00:00:00Z]}"
HIGH = "{event: purchase, sum: amount, gte: 10}"


@pytest.mark.parametrize(
    ("match", "lines", "expected"),
    [
        pytest.param(WEEK, [buy(AT)], True, id="an event at now counts"),
        pytest.param(WEEK, [buy(AT + 1)], False, id="one after now does not exist"),
        pytest.param(WEEK, [buy(AT - 7 * DAY)], True, id="nobody leaves before the window ends"),
        pytest.param(WEEK, [buy(AT - 7 * DAY - 1)], False, id="the hop's end before is over"),
        pytest.param(WEEK, [buy(AT - 7 * DAY - HOUR)], False, id="one hop late at most"),
        pytest.param(FEW, [buy(AT - 60 * SECOND)], True, id="a minute old with a fine hop"),
        pytest.param(FEW, [buy(AT - 60 * SECOND - 1)], False, id="a millisecond more"),
        pytest.param(DAYS, [buy(AT), buy(AT - 1), buy(AT - DAY)], False, id="two days of three"),
        pytest.param(DAYS, [buy(AT - n * DAY) for n in range(3)], True, id="three days"),
        pytest.param(
            DAYS, [buy(NIGHT), buy(NIGHT - 1), buy(AT)], True, id="a day ends at midnight UTC"
        ),
        pytest.param(
            DAYS, [buy(AT - 7 * DAY - 2 * HOUR), buy(AT), buy(AT - DAY)], False, id="too long ago"
        ),
        pytest.param(
            "{event: purchase, days_active: true, lt: 1}",
            [traits(country="DE")],
            True,
            id="days of nothing are none",
        ),
        pytest.param(
            "{event: purchase, days_active: true, between: [2026-01-01, 2026-01-03], eq: 2}",
            [buy(JANUARY), buy(JANUARY + DAY), buy(JANUARY + 2 * DAY)],
            True,
            id="days of a span",
        ),
        pytest.param(SINCE, [buy(JANUARY)], True, id="since includes its instant"),
        pytest.param(SINCE, [buy(JANUARY - 1)], False, id="since forgets what was before"),
        pytest.param(SINCE, [buy(AT + 1)], False, id="since does not look ahead"),
        pytest.param(SPAN, [buy(JANUARY)], True, id="between includes its start"),
        pytest.param(SPAN, [buy(JANUARY + 31 * DAY)], False, id="between excludes its end"),
        pytest.param(SPAN, [buy(JANUARY + 31 * DAY - 1)], True, id="between up to its end"),
        pytest.param("{did: purchase}", [buy(0)], True, id="ever reaches back to 1970"),
        pytest.param("{did_not: purchase}", [traits(country="DE")], True, id="known, no purchase"),
        pytest.param("{did_not: purchase}", [], False, id="nobody knows ann"),
        pytest.param(HIGH, [buy(amount=9.99995)], True, id="half-even to four places, up"),
        pytest.param(HIGH, [raw('{"amount":9.99994999999999999999}')], False, id="by the text"),
        pytest.param(HIGH, [raw('{"amount":9.99985}')], False, id="half-even to four places, down"),
        pytest.param(
            "{event: purchase, sum: amount, eq: 0.3}",
            [buy(amount=0.1), buy(amount=0.2)],
            True,
            id="sums are exact",
        ),
        pytest.param(HIGH, [buy(amount=None), buy()], False, id="nulls do not enter"),
        pytest.param(
            "{event: purchase, avg: amount, lt: 5}", [buy()], False, id="no average of nothing"
        ),
        pytest.param(
            "{event: purchase, avg: amount, ne: 5}", [buy()], True, id="missing is not equal"
        ),
        pytest.param(
            "{event: purchase, avg: items, eq: 2.5}",
            [buy(items=2), buy(items=3)],
            True,
            id="averages of integers",
        ),
        pytest.param(
            "{event: purchase, avg: amount, gt: 0.3333}",
            [buy(1, amount=1), buy(2, amount=0), buy(3, amount=0)],
            True,
            id="a third is more than 0.3333",
        ),
        pytest.param(
            "{event: purchase, min: amount, exists: false}", [buy()], True, id="no minimum"
        ),
        pytest.param(
            "{event: purchase, max: ships, after: 2026-03-15}",
            [buy(ships=AT)],
            True,
            id="the latest timestamp",
        ),
        pytest.param("{event: purchase, count: true, lt: 2.5}", [buy()], True, id="half an event"),
        pytest.param(
            "{event: purchase, sum: amount, between: [1, 2]}",
            [buy(amount=2)],
            True,
            id="between includes its ends",
        ),
        pytest.param(
            "{did: purchase, where: {sku: a, gift: true}}",
            [buy(sku="a", gift=False), buy(sku="b", gift=True)],
            False,
            id="a filter looks at one event",
        ),
        pytest.param(
            "{did: purchase, where: {none: [{property: sku, in: [a]}]}}",
            [buy()],
            True,
            id="not on a missing property holds",
        ),
        pytest.param(
            "{did: purchase, where: {property: labels, contains_all: [a, b]}}",
            [buy(labels=["b", "c", "a"])],
            True,
            id="all elements, in any order",
        ),
        pytest.param("{trait: tags, exists: true}", [traits(tags=[])], True, id="empty is there"),
        pytest.param(
            "{trait: tags, not_contains: a}", [traits(age=1)], True, id="missing has no elements"
        ),
        pytest.param(
            "{trait: country, gt: 😀}", [traits(country="\uffee")], False, id="by code points"
        ),
        pytest.param(
            "{trait: country, matches: '^D'}", [traits(country="D\nE")], True, id="a pattern"
        ),
        pytest.param(
            "{trait: signed_up, after: -1 day}",
            [traits(signed_up=AT - DAY)],
            False,
            id="after is >",
        ),
        pytest.param(
            "{trait: signed_up, before: +1 day}",
            [traits(signed_up="2026-03-16T11:59:59.999Z")],
            True,
            id="relative to the future",
        ),
        pytest.param(
            "{trait: signed_up, eq: 2026-03-15}",
            [traits(signed_up="2026-03-15T01:00:00+01:00")],
            True,
            id="a bare date is midnight UTC",
        ),
        pytest.param(
            "{trait: age, eq: 2}", [traits(2, age=2), traits(1, age=3)], True, id="latest trait"
        ),
        pytest.param(
            "{trait: age, eq: 9}", [traits(age=9), traits(age=10)], True, id="greater JSON on a tie"
        ),
        pytest.param(
            "{trait: age, exists: false}", [traits(1, age=3), traits(2, age=None)], True, id="null"
        ),
        pytest.param("{trait: age, gt: 2.5}", [traits(age=3)], True, id="an integer and a half"),
        pytest.param("{trait: age, ne: 3}", [traits(age=3.0)], False, id="3.0 is no integer"),
        pytest.param("{trait: score, eq: 3}", [traits(score=3)], True, id="3 is a decimal"),
    ],
)
def test_one_user(match: str, lines: list[str], expected: bool) -> None:
    assert members(match, *lines) == (["ann"] if expected else [])


TWO = "{event: purchase, count: true, gte: 2}"
ONCE = "{event: purchase, count: true, eq: 1}"


@pytest.mark.parametrize(
    ("match", "lines", "expected"),
    [
        pytest.param(ONCE, [buy(1, id="e"), buy(2, id="e")], ["ann"], id="a repeat is dropped"),
        pytest.param(
            HIGH,
            [buy(2, id="e", amount=99), buy(1, id="e", amount=1)],
            [],
            id="of repeats the earliest stays",
        ),
        pytest.param(
            HIGH,
            [buy(1, id="e", amount=9), buy(1, id="e", amount=10)],
            ["ann"],
            id="at one instant the smaller JSON stays",
        ),
        pytest.param(
            TWO,
            [buy(1, "anon", "e"), buy(1, "ann", "e"), alias("anon", "ann")],
            ["ann"],
            id="ids of two users are two ids",
        ),
        pytest.param(
            TWO,
            [buy(1, "a"), buy(2, "b"), alias("a", "b"), alias("b", "c")],
            ["c"],
            id="chains lead to the one that is never joined",
        ),
        pytest.param(
            TWO,
            [buy(1, "b"), buy(2, "c"), alias("b", "c"), alias("c", "b")],
            ["b"],
            id="of a cycle the smallest",
        ),
        pytest.param(
            TWO,
            [buy(1, "a"), buy(2, "b"), alias("a", "c"), alias("a", "b")],
            ["b"],
            id="of several the smallest",
        ),
        pytest.param("{did_not: login}", [alias("x", "y")], [], id="an alias makes nobody known"),
        pytest.param("{did_not: login}", [delete("x")], [], id="nor does a deletion"),
        pytest.param("{did: purchase}", [buy(5), delete("ann", 5)], [], id="up to and including"),
        pytest.param("{did: purchase}", [buy(6), delete("ann", 5)], ["ann"], id="a new start"),
        pytest.param(
            "{did: purchase}",
            [buy(1, "a"), buy(1, "b"), alias("a", "b", 3), delete("a", 5)],
            [],
            id="deletion takes all joined ids",
        ),
        pytest.param(
            TWO,
            [buy(6, "a"), buy(6, "b"), alias("a", "b", 3), delete("a", 5)],
            [],
            id="and their joins",
        ),
        pytest.param(
            "{did: purchase}",
            [buy(1, "a"), buy(1, "b"), alias("a", "b", 6), delete("a", 5)],
            ["b"],
            id="a later join extends nothing",
        ),
        pytest.param(
            "{did: purchase}",
            [buy(1, id="e"), buy(9, id="e"), delete("ann", 5)],
            [],
            id="a repeat of the forgotten is a repeat",
        ),
        pytest.param(
            "{trait: country, eq: DE}",
            [traits(2, "a", country="DE"), traits(1, "b", country="FR"), alias("a", "b")],
            ["b"],
            id="traits of joined ids by time",
        ),
    ],
)
def test_people(match: str, lines: list[str], expected: list[str]) -> None:
    assert members(match, *lines) == expected
    assert members(match, *reversed(lines)) == expected


def test_memberships_sort_by_segment_and_code_point() -> None:
    rules = [rule("{did: purchase}", "b"), rule("{did: purchase}", "a")]
    lines = [buy(user=user) for user in ("\uffee", "Z", "a", "😀", "é")]
    found = reference_members(lines, rules, CATALOG, AT)
    assert found == [(s, u) for s in "ab" for u in ("Z", "a", "é", "\uffee", "😀")]


def test_explanations_show_the_value_of_every_leaf() -> None:
    match = "{all: [{event: purchase, avg: amount, gt: 2}, {not: {trait: country, eq: DE}}]}"
    lines = [buy(1, "x", amount=1), buy(2, amount=2.5), alias("x", "ann")]
    (told,) = explain_user(lines, [rule(match)], CATALOG, AT, "x") or []
    assert not told.member
    assert [(str(leaf.value), leaf.holds) for leaf in told.leaves] == [
        ("1.75", False),
        ("None", False),
    ]
    assert explain_user(lines, [rule(match)], CATALOG, AT, "bob") is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not-json"),
        (b'{"type":"login","type":}', "not-json"),
        (b'{"a":NaN}', "not-json"),
        (b'{"a":1e999}', "not-json"),
        (b'{"a":"\\ud800"}', "not-json"),
        (b"\xff", "invalid-utf8"),
        (b'{"a":"\0"}', "nul-character"),
        (b'{"a":"\\u0000"}', "nul-character"),
        (b"[1]", "not-an-object"),
        (b"[" * 5_000, "too-deep"),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "too-deep"),
        (b'{"a":"' + b"x" * 262_144 + b'"}', "too-large"),
        (b'{"user_id":"u","ts":1}', "missing-type"),
        (b'{"type":"login","event_id":"e","ts":1}', "missing-user-id"),
        (b'{"type":"login","user_id":"u","ts":1}', "missing-event-id"),
        (b'{"type":"login","user_id":"u","event_id":"e"}', "missing-ts"),
        (b'{"type":"login","user_id":7,"event_id":"e","ts":1}', "wrong-type"),
        (b'{"type":"login","user_id":"","event_id":"e","ts":1}', "bad-id"),
        (b'{"type":"login","user_id":"u","event_id":"e","ts":1.5}', "bad-ts"),
        (b'{"type":"login","user_id":"u","event_id":"e","ts":true}', "bad-ts"),
        (b'{"type":"login","user_id":"u","event_id":"e","ts":"2026-01-01"}', "bad-ts"),
        (b'{"type":"login","user_id":"u","event_id":"e","ts":"2026-01-01T00:00:00"}', "bad-ts"),
        (b'{"type":"login","user_id":"u","event_id":"e","ts":-1}', "too-old"),
        (raw('{"items":9007199254740993}').encode(), "out-of-range"),
        (raw('{"amount":1e11}').encode(), "out-of-range"),
        (raw('{"amount":"1"}').encode(), "wrong-type"),
        (raw('{"gift":1}').encode(), "wrong-type"),
        (raw('{"items":true}').encode(), "wrong-type"),
        (raw('{"labels":["a",null]}').encode(), "wrong-type"),
        (raw('{"ships":"tomorrow"}').encode(), "wrong-type"),
    ],
)
def test_bad_lines_are_named_and_do_not_stop_the_others(line: bytes, reason: str) -> None:
    told: list[tuple[int, str]] = []
    found = reference_members(
        [buy(1), line, buy(2)],
        [rule(TWO)],
        CATALOG,
        AT,
        on_bad_line=lambda number, why: told.append((number, why)),
    )
    assert told == [(2, reason)]
    assert found == [("s", "ann")]
