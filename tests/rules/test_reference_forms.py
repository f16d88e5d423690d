"""What the forms that hang on order, calendar or lists mean, over the oracle and the kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.clock import parse_instant
from headrace.engine.evaluate import evaluate
from headrace.rules.model import MOST_DISTINCT, MOST_STEPS_KEPT
from headrace.rules.reference import reference_members
from headrace.rules.yaml import parse_segment
from strategies import CATALOG

AT = parse_instant("2026-03-15T12:00:00Z")
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


def members(match: str, *lines: str, at: int | str = AT, zone: str = "UTC") -> list[str]:
    head = "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: s}\nspec:\n"
    segment = parse_segment(f"{head}  timezone: {zone}\n  match: {match}")
    instant = parse_instant(at) if isinstance(at, str) else at
    found = reference_members(lines, [segment], CATALOG, instant)
    assert evaluate([line.encode() for line in lines], [segment], CATALOG, instant) == found
    return [user for _, user in found]


def fact(kind: str, ts: int | str, id: str = "", **properties: Any) -> str:
    instant = parse_instant(ts) if isinstance(ts, str) else ts
    event_id = id or f"{kind}-{instant}-{json.dumps(properties)}"
    line = {"event_id": event_id, "user_id": "ann", "type": kind, "ts": instant}
    return json.dumps({**line, "properties": properties})


def buy(ts: int | str = AT, id: str = "", **properties: Any) -> str:
    return fact("purchase", ts, id, **properties)


def view(ts: int | str, **properties: Any) -> str:
    return fact("page_view", ts, **properties)


def login(ts: int | str, id: str = "") -> str:
    return fact("login", ts, id)


def listed(name: str, *, on: bool = True) -> str:
    traits = {f"list:{name}": on or None}
    return json.dumps({"type": "traits", "user_id": "ann", "ts": 0, "traits": traits})


SKUS = "{event: purchase, distinct: sku, within: 7 days, gte: 2}"
LAST = "{event: purchase, last: sku, eq: b}"
FIRST = "{event: purchase, first: sku, within: 7 days, eq: a}"
CART = "{sequence: [{event: login}, {not: purchase, within: 1 hour}], within: 1 day}"
NEAR = "{sequence: [{event: login}, {event: purchase, within: 1 hour}], within: 7 days}"
CLEAN = "{sequence: [{event: login}, {not: page_view}, {event: purchase}]}"
PRICED = "{sequence: [{event: page_view, where: {page: /pricing}}, {event: purchase}]}"


@pytest.mark.parametrize(
    ("match", "lines", "expected"),
    [
        pytest.param(SKUS, [buy(AT, sku="a"), buy(AT - 1, sku="a")], False, id="one value twice"),
        pytest.param(SKUS, [buy(AT, sku="a"), buy(AT - 1, sku="b")], True, id="two values"),
        pytest.param(SKUS, [buy(AT, sku="a"), buy(AT - 1)], False, id="no value is none"),
        pytest.param(
            SKUS, [buy(AT - 8 * DAY, sku="a"), buy(AT, sku="b")], False, id="one has left"
        ),
        pytest.param(
            SKUS,
            [buy(AT - 8 * DAY, sku="a"), buy(AT - DAY, sku="a"), buy(AT, sku="b")],
            True,
            id="a value counts from its latest event",
        ),
        pytest.param(
            "{event: purchase, distinct: amount, eq: 1}",
            [buy(1, amount=1.5), buy(2, amount=1.50004)],
            True,
            id="decimals are equal after rounding",
        ),
        pytest.param(
            "{event: purchase, distinct: ships, eq: 1}",
            [buy(1, ships="2026-01-01T01:00:00+01:00"), buy(2, ships="2026-01-01")],
            True,
            id="instants are equal whatever their spelling",
        ),
        pytest.param(
            "{event: purchase, distinct: sku, lt: 1}", [buy()], True, id="distinct of nothing is 0"
        ),
        pytest.param(LAST, [buy(1, sku="a"), buy(2, sku="b")], True, id="last by ts"),
        pytest.param(LAST, [buy(2, sku="b"), buy(3)], True, id="only events with the field"),
        pytest.param(
            LAST, [buy(2, "e2", sku="b"), buy(2, "e1", sku="a")], True, id="at one ts by event id"
        ),
        pytest.param(
            "{event: purchase, last: sku, within: 7 days, eq: b}",
            [buy(AT - 8 * DAY, sku="b")],
            False,
            id="the last has left",
        ),
        pytest.param(
            "{event: purchase, last: sku, ne: b}", [buy()], True, id="missing is not equal"
        ),
        pytest.param(
            "{event: purchase, last: sku, exists: false}", [buy()], True, id="no last one"
        ),
        pytest.param(
            FIRST, [buy(AT - 8 * DAY, sku="b"), buy(AT - DAY, sku="a")], True, id="first of these"
        ),
        pytest.param(FIRST, [buy(1, sku="a"), buy(AT, sku="b")], False, id="the first has left"),
        pytest.param(
            "{event: purchase, first: labels, contains_any: [x, y]}",
            [buy(1, labels=["y", "z"]), buy(2, labels=["z"])],
            True,
            id="the first array",
        ),
        pytest.param(
            "{event: purchase, last: ships, after: -1 day}",
            [buy(1, ships=AT), buy(2, ships=AT - DAY + 1)],
            True,
            id="the last timestamp, relative to now",
        ),
        pytest.param(
            "{event: purchase, first: gift, eq: true}", [buy(gift=True)], True, id="a boolean"
        ),
        pytest.param(CART, [login(AT - HOUR)], True, id="an hour without, to the millisecond"),
        pytest.param(CART, [login(AT - HOUR + 1)], False, id="the hour is not over"),
        pytest.param(
            CART, [login(AT - 2 * HOUR), buy(AT - HOUR)], False, id="at the end of the hour counts"
        ),
        pytest.param(
            CART, [login(AT - 2 * HOUR), buy(AT - HOUR + 1)], True, id="after the hour does not"
        ),
        pytest.param(CART, [login(AT - 2 * HOUR), buy(AT - 2 * HOUR)], True, id="nor at its start"),
        pytest.param(CART, [login(AT - 26 * HOUR)], False, id="the last step has left"),
        pytest.param(NEAR, [login(AT - HOUR), buy(AT)], True, id="the gap may be all of it"),
        pytest.param(NEAR, [login(AT - HOUR - 1), buy(AT)], False, id="but not more"),
        pytest.param(NEAR, [login(AT), buy(AT)], False, id="strictly later"),
        pytest.param(NEAR, [buy(AT - 1), login(AT)], False, id="in this order"),
        pytest.param(
            NEAR,
            [login(AT - 2 * HOUR), login(AT - HOUR), buy(AT)],
            True,
            id="the nearest login decides",
        ),
        pytest.param(
            NEAR,
            [login(AT - 8 * DAY), buy(AT - 8 * DAY + 1)],
            False,
            id="it left long ago",
        ),
        pytest.param(CLEAN, [login(1), view(2), buy(3)], False, id="nothing in between"),
        pytest.param(CLEAN, [login(1), view(1), view(3), buy(3)], True, id="strictly between"),
        pytest.param(
            CLEAN, [login(1), view(2), login(3), buy(4)], True, id="another login starts anew"
        ),
        pytest.param(PRICED, [view(1, page="/pricing"), buy(2)], True, id="a filtered step"),
        pytest.param(PRICED, [view(1, page="/"), buy(2)], False, id="which does not match"),
        pytest.param(
            "{sequence: [{event: login}, {event: login}, {event: login}]}",
            [login(1, "a"), login(1, "b"), login(2)],
            False,
            id="three instants, not three events",
        ),
        pytest.param(
            CLEAN,
            [login(1), *(view(2, page=str(n)) for n in range(MOST_STEPS_KEPT - 1)), buy(3)],
            False,
            id="the newest events that match any step",
        ),
        pytest.param(
            NEAR,
            [login(AT - 10), *(buy(AT - 9, f"e{n}") for n in range(MOST_STEPS_KEPT)), buy(AT)],
            False,
            id="older ones are not looked at",
        ),
        pytest.param("{list: vip}", [listed("vip")], True, id="on the list"),
        pytest.param("{list: vip}", [listed("staff")], False, id="on another"),
        pytest.param("{not: {list: vip}}", [buy()], True, id="not on it"),
    ],
)
def test_one_user(match: str, lines: list[str], expected: bool) -> None:
    assert members(match, *lines) == (["ann"] if expected else [])
    assert members(match, *reversed(lines)) == (["ann"] if expected else [])


def test_distinct_counts_to_ten_thousand_and_no_further() -> None:
    lines = [buy(AT - n, sku=str(n)) for n in range(MOST_DISTINCT + 5)]
    assert members(f"{{event: purchase, distinct: sku, eq: {MOST_DISTINCT}}}", *lines) == ["ann"]
    assert members(f"{{event: purchase, distinct: sku, lt: {MOST_DISTINCT}}}", *lines) == []
    few = lines[: MOST_DISTINCT - 1]
    assert members(f"{{event: purchase, distinct: sku, lt: {MOST_DISTINCT}}}", *few) == ["ann"]


TODAY = "{did: purchase, period: today}"
WEEK = "{did: purchase, period: this_week}"
MONTH = "{did: purchase, period: this_month}"
YEAR = "{did: purchase, period: this_year}"
BERLIN, SAO_PAULO, NEPAL = "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu"


@pytest.mark.parametrize(
    ("match", "zone", "ts", "at", "expected"),
    [
        pytest.param(TODAY, "UTC", "2026-03-15T00:00:00Z", "2026-03-15T23:59:59Z", True, id="day"),
        pytest.param(
            TODAY, "UTC", "2026-03-14T23:59:59Z", "2026-03-15T00:00:00Z", False, id="yesterday"
        ),
        pytest.param(
            TODAY, BERLIN, "2026-03-14T23:00:00Z", "2026-03-15T22:59:59Z", True, id="local day"
        ),
        pytest.param(
            TODAY, BERLIN, "2026-03-14T23:00:00Z", "2026-03-15T23:00:00Z", False, id="it is over"
        ),
        # The clocks go forward on 29 March: the day has 23 hours; back on 25 October: 25.
        pytest.param(
            TODAY, BERLIN, "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", True, id="23 hours"
        ),
        pytest.param(
            TODAY, BERLIN, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", False, id="no more"
        ),
        pytest.param(
            TODAY, BERLIN, "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", True, id="25 hours"
        ),
        pytest.param(
            TODAY, BERLIN, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", False, id="no longer"
        ),
        # In Sao Paulo the 4th of November 2018 began at one o'clock.
        pytest.param(
            TODAY, SAO_PAULO, "2018-11-04T03:00:00Z", "2018-11-05T01:59:59Z", True, id="no midnight"
        ),
        pytest.param(
            TODAY, SAO_PAULO, "2018-11-04T02:59:59Z", "2018-11-04T03:00:00Z", False, id="eve of it"
        ),
        pytest.param(
            TODAY, NEPAL, "2026-03-14T18:15:00Z", "2026-03-15T18:14:59Z", True, id="5:45 ahead"
        ),
        pytest.param(
            TODAY, NEPAL, "2026-03-14T18:14:59Z", "2026-03-15T12:00:00Z", False, id="not before"
        ),
        pytest.param(
            WEEK, "UTC", "2026-03-09T00:00:00Z", "2026-03-15T23:59:59Z", True, id="from Monday"
        ),
        pytest.param(
            WEEK, "UTC", "2026-03-08T23:59:59Z", "2026-03-09T00:00:00Z", False, id="to Sunday"
        ),
        pytest.param(
            MONTH, BERLIN, "2026-02-28T23:00:00Z", "2026-03-31T21:59:59Z", True, id="March, local"
        ),
        pytest.param(
            MONTH, BERLIN, "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", False, id="April, local"
        ),
        pytest.param(
            MONTH, "UTC", "2028-02-01T00:00:00Z", "2028-02-29T23:59:59Z", True, id="a leap day"
        ),
        pytest.param(
            YEAR, NEPAL, "2025-12-31T18:15:00Z", "2026-12-31T18:14:59Z", True, id="the year, local"
        ),
        pytest.param(
            YEAR, NEPAL, "2025-12-31T18:15:00Z", "2026-12-31T18:15:00Z", False, id="the next year"
        ),
    ],
)
def test_periods(match: str, zone: str, ts: str, at: str, expected: bool) -> None:
    assert members(match, buy(ts), at=at, zone=zone) == (["ann"] if expected else [])


def test_days_are_those_of_the_rules_zone() -> None:
    lines = buy("2026-03-14T22:59:59Z"), buy("2026-03-14T23:00:00Z")
    match = "{event: purchase, days_active: true, within: 100 days, eq: 2}"
    assert members(match, *lines, zone=BERLIN) == ["ann"]
    assert members(match, *lines) == []


def test_a_segment_keeps_its_zone_when_another_refers_to_it() -> None:
    texts = (
        "metadata: {id: here}\nspec: {timezone: Europe/Berlin, match: " + TODAY + "}",
        "metadata: {id: there}\nspec: {match: {segment: here}}",
    )
    rules = [parse_segment(f"apiVersion: headrace/v1\nkind: Segment\n{text}") for text in texts]
    lines, at = [buy("2026-03-14T23:00:00Z").encode()], parse_instant("2026-03-15T22:00:00Z")
    expected = [("here", "ann"), ("there", "ann")]
    assert evaluate(lines, rules, CATALOG, at) == expected
    assert reference_members(lines, rules, CATALOG, at) == expected
