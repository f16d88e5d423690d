"""Calls of Segment's libraries, and the events they are."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from headrace.clock import MINUTE, parse_instant
from headrace.engine.fields import Refusal
from headrace.engine.judge import Judge
from headrace.rules.catalog import Catalog, EventType
from headrace.serving.ingest.calls import events_of

NOW = parse_instant("2026-05-01T09:00:00Z")
THEN = "2026-05-01T08:30:00.000Z"
ABOUT = {"messageId": "m1", "userId": "ann", "timestamp": THEN}
SAME = {"event_id": "m1", "user_id": "ann", "ts": THEN}


@pytest.mark.parametrize(
    ("call", "events"),
    [
        pytest.param(
            {"type": "track", "event": "purchase", "properties": {"amount": 5}, **ABOUT},
            [{"type": "purchase", "properties": {"amount": 5}, **SAME}],
            id="track",
        ),
        pytest.param(
            {"type": "track", "event": "Order Completed", **ABOUT},
            [{"type": "order_completed", "properties": None, **SAME}],
            id="a name in Segment's fashion is the catalogued one",
        ),
        pytest.param(
            {"type": "track", "event": "Never Heard Of", **ABOUT},
            [{"type": "Never Heard Of", "properties": None, **SAME}],
            id="a name nobody knows stays",
        ),
        pytest.param(
            {"type": "identify", "traits": {"age": 30}, **ABOUT},
            [{"type": "traits", "traits": {"age": 30}, **SAME}],
            id="identify",
        ),
        pytest.param(
            {"type": "identify", "anonymousId": "a-1", "traits": None, **ABOUT},
            [
                {"type": "traits", "traits": None, **SAME},
                {"event_id": "m1:join", "type": "alias", "from": "a-1", "to": "ann", "ts": THEN},
            ],
            id="identify joins who was nobody with who he is",
        ),
        pytest.param(
            {"type": "alias", "previousId": "a-1", **ABOUT},
            [{"event_id": "m1", "type": "alias", "from": "a-1", "to": "ann", "ts": THEN}],
            id="alias",
        ),
        pytest.param(
            {"type": "page", "name": "Pricing", "properties": {"path": "/pricing"}, **ABOUT},
            [{"type": "page", "properties": {"name": "Pricing", "path": "/pricing"}, **SAME}],
            id="page",
        ),
        pytest.param(
            {"type": "group", "groupId": 7, "traits": {"plan": "pro"}, **ABOUT},
            [{"type": "group", "properties": {"group_id": "7", "plan": "pro"}, **SAME}],
            id="group",
        ),
        pytest.param(
            {"type": "track", "event": "login", "messageId": "m2", "anonymousId": "a-1"},
            [{"type": "login", "properties": None, "event_id": "m2", "user_id": "a-1", "ts": NOW}],
            id="without a user, the anonymous one; without an instant, now",
        ),
        pytest.param(
            {"type": "track", "event": "login", **ABOUT, "userId": 42},
            [{"type": "login", "properties": None, **SAME, "user_id": "42"}],
            id="numbers of databases are ids",
        ),
    ],
)
def test_a_call_is_these_events(call: dict[str, Any], events: list[dict[str, Any]]) -> None:
    assert list(events_of(call, received=NOW, known={"order_completed"})) == events
    catalog = Catalog({name: EventType() for name in ("purchase", "page")})
    judge = Judge(catalog, now=NOW, retention_ms=None)
    for event in events:
        judge.fact(orjson.dumps(event))


@pytest.mark.parametrize(
    ("sent", "ts"),
    [
        pytest.param("2026-05-01T08:59:30Z", THEN, id="a minute is no error"),
        pytest.param("2026-05-01T11:00:00Z", "2026-05-01T06:30:00Z", id="a clock two hours fast"),
        pytest.param("2026-05-01T08:00:00Z", "2026-05-01T09:30:00Z", id="a clock an hour slow"),
        pytest.param("yesterday", THEN, id="a clock that says nothing"),
        pytest.param(12, THEN, id="a clock of another kind"),
    ],
)
def test_a_wrong_clock_is_set_right(sent: Any, ts: str) -> None:
    call = {"type": "track", "event": "login", **ABOUT}
    (event,) = events_of(call, received=NOW, sent=sent)
    assert event["ts"] == ts
    assert MINUTE == 60_000


@pytest.mark.parametrize("call", [{"type": "fly", **ABOUT}, {**ABOUT}, {"type": ["track"]}])
def test_what_is_no_call_is_told(call: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as told:
        events_of(call, received=NOW)
    assert told.value.reason == "unknown-call"


def test_without_the_right_to_join_an_identify_is_about_traits() -> None:
    call = {"type": "identify", "anonymousId": "a-1", "traits": {}, **ABOUT}
    assert [event["type"] for event in events_of(call, received=NOW, joins=False)] == ["traits"]
