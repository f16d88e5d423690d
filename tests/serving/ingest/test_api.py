"""The event API over fakes: what is answered, and what goes to Kafka."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from headrace.clock import parse_instant
from headrace.metrics import Metrics
from headrace.rules.streams import canonical, parse_stream
from headrace.serving.app import openapi_text
from headrace.serving.ingest.app import create_ingest_app
from headrace.serving.ingest.body import LARGEST
from headrace.serving.ingest.known import Known
from headrace.serving.ingest.sender import Sender
from headrace.serving.ingest.spool import Spool
from headrace.store import StoredStream
from headrace.store.sources import Bots
from headrace.store.streams import StreamState
from serving.ingest.fakes import KEY, LIMITED, SOURCES, TRUSTED, FakeBroker, FakeDefinitions

OPENAPI = Path(__file__).parents[3] / "serving" / "openapi-ingest.json"
NOW = parse_instant("2026-05-01T09:00:00Z")
EVENT: dict[str, Any] = {
    "event_id": "e1",
    "user_id": "ann",
    "type": "purchase",
    "ts": NOW,
    "properties": {"amount": 5},
}
TRACK: dict[str, Any] = {
    "type": "track",
    "event": "purchase",
    "messageId": "m1",
    "userId": "ann",
    "properties": {"amount": 5},
}


@dataclass
class Shop:
    """An event API, its client and its broker."""

    client: TestClient
    broker: FakeBroker
    definitions: FakeDefinitions
    known: Known
    time: list[float]

    def send(self, body: Any, path: str = "/v1/events", key: str = KEY, **headers: str) -> Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            given["authorization"] = f"Bearer {key}"
        return self.client.post(path, content=raw, headers=given)

    def sent(self) -> list[Any]:
        return [json.loads(message.value) for message in self.broker.log]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    broker, definitions = FakeBroker(), FakeDefinitions()
    known = Known(definitions, retention_days=30)
    known.refresh()
    spool = Spool(tmp_path, 1 << 20)
    time = [0.0]
    with TestClient(made(known, broker, spool, time), raise_server_exceptions=False) as client:
        yield Shop(client, broker, definitions, known, time)
    spool.close()


def made(known: Known, broker: FakeBroker, spool: Spool, time: Sequence[float] = (0.0,)) -> FastAPI:
    metrics = Metrics()
    sender = Sender(broker, spool, metrics)

    @asynccontextmanager
    async def keeping(_: FastAPI) -> Any:
        task = asyncio.create_task(sender.keep())
        yield
        task.cancel()

    return create_ingest_app(
        known,
        sender,
        spool,
        metrics=metrics,
        clock=lambda: NOW,
        monotonic=lambda: time[0],
        lifespan=keeping,
    )


def test_an_event_is_on_the_broker_when_it_is_accepted(shop: Shop) -> None:
    answer = shop.send(EVENT)
    assert answer.status_code == 202
    assert answer.json() == {
        "kept": "kafka", "accepted": 1, "quarantined": 0, "refused": 0,
        "results": [{"index": 0, "status": "accepted", "event_id": "e1"}],
    }  # fmt: skip
    assert shop.sent() == [EVENT]
    (message,) = shop.broker.log
    assert (message.key, message.headers) == (b"ann", (("source", b"shop"),))


CLICKS = """
apiVersion: headrace/v1
kind: Stream
metadata: {id: clicks}
spec:
  topic: web.clicks
  format: headrace
  types: [purchase]
  sources: [shop]
  schema: {properties: {properties: {required: [sku]}}}
  enrich: {amount: 7}
"""


def onboarded(text: str, state: StreamState) -> StoredStream:
    stream = parse_stream(text)
    return StoredStream(
        id=stream.id, state=state, version=1, text=canonical(stream), newest=1, author="test",
        since=datetime(2026, 5, 1, tzinfo=UTC),
    )  # fmt: skip


def test_an_event_goes_to_the_stream_that_takes_it_and_is_judged_as_there(shop: Shop) -> None:
    shop.definitions.onboarded = (onboarded(CLICKS, "active"),)
    shop.known.refresh()
    bare = {**EVENT, "properties": {"sku": "kettle", "amount": "many"}}
    events = [bare, EVENT, {"type": "traits", "user_id": "ann", "traits": {"age": 5}}]
    told = [(row["status"], row.get("reason")) for row in shop.send(events).json()["results"]]
    # What its stream lays over the event makes it one; what its stream rejects, it hears now.
    assert told == [("accepted", None), ("quarantined", "wrong-schema"), ("accepted", None)]
    assert [one.topic for one in shop.broker.log] == ["web.clicks", "web.clicks", ""]
    assert shop.sent()[0] == bare, "the stream maps what was sent"
    assert shop.send(bare, key=TRUSTED).json()["results"][0]["reason"] == "wrong-type"
    assert shop.broker.log[-1].topic == "", "of another source"


@pytest.mark.parametrize(
    ("state", "told"),
    [("paused", ("quarantined", "no-stream")), ("retired", ("accepted", None))],
)
def test_an_event_whose_stream_is_paused_waits_in_its_topic(
    shop: Shop, state: StreamState, told: tuple[str, str | None]
) -> None:
    shop.definitions.onboarded = (onboarded(CLICKS, state),)
    shop.known.refresh()
    event = {**EVENT, "properties": {"sku": "kettle"}}
    (result,) = shop.send(event).json()["results"]
    assert (result["status"], result.get("reason")) == told
    assert shop.broker.log[-1].topic == ("web.clicks" if state == "paused" else "")


def test_what_a_paused_stream_took_goes_to_the_one_that_takes_it_now(shop: Shop) -> None:
    late = CLICKS.replace("id: clicks", "id: later").replace("web.clicks", "web.later")
    said = {"type": "traits", "user_id": "ann", "traits": {"age": 5}}
    rest = late.replace("id: later", "id: rest").replace("types: [purchase]", "types: []")
    for order in (1, -1):
        shop.definitions.onboarded = tuple(
            [
                onboarded(CLICKS, "paused"),
                onboarded(late, "active"),
                onboarded(rest.replace("web.later", "web.rest"), "active"),
            ][::order]
        )
        shop.known.refresh()
        shop.send([{**EVENT, "properties": {"sku": "x"}}, {**EVENT, "type": "seen"}, said])
        assert [one.topic for one in shop.broker.log[-3:]] == ["web.later", "web.rest", ""]


CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"


@pytest.mark.parametrize(
    ("bots", "agent", "told"),
    [
        ("keep", CRAWLER, ("accepted", None)),
        ("flag", CRAWLER, ("accepted", "bot")),
        ("flag", BROWSER, ("accepted", None)),
        ("flag", "", ("accepted", None)),
        ("refuse", CRAWLER, ("refused", "bot")),
        ("refuse", BROWSER, ("accepted", None)),
    ],
)
def test_events_of_bots_are_kept_flagged_or_refused(
    shop: Shop, bots: Bots, agent: str, told: tuple[str, str | None]
) -> None:
    shop.definitions.found = tuple(replace(one, bots=bots) for one in SOURCES)
    shop.known.refresh()
    status, flag = told
    said = {"type": "traits", "user_id": "ann", "traits": {"age": 5}}
    results = shop.send([EVENT, said], user_agent=agent).json()
    if status == "refused":
        assert [one["detail"] for one in results["errors"]] == ["bot", "bot"]
        assert not shop.broker.log
    else:
        assert shop.sent()[0]["properties"].get("traffic") == flag and "traffic" not in str(said)
    # Of a call that a backend makes the program is the person's, if it is named.
    call = {**TRACK, "context": {"userAgent": agent}}
    shop.send(call, "/v1/segment/track", user_agent=BROWSER)
    flags = [one["properties"].get("traffic") for one in shop.sent() if one["type"] == "purchase"]
    assert flags[-1:] == ([flag] if status == "accepted" else [])


def test_all_that_a_source_of_tests_sends_is_flagged(shop: Shop) -> None:
    shop.definitions.found = tuple(replace(one, is_test=True) for one in SOURCES)
    shop.known.refresh()
    shop.send([EVENT, {**EVENT, "properties": None}, {**EVENT, "properties": [1]}])
    assert [one["properties"] for one in shop.sent()] == [
        {"amount": 5, "traffic": "test"}, {"traffic": "test"}, [1],
    ]  # fmt: skip


def test_each_event_is_judged_as_the_stream_will(shop: Shop) -> None:
    events = [
        EVENT,
        {**EVENT, "type": "nonsense"},
        {**EVENT, "properties": {"amount": "five"}},
        {**EVENT, "user_id": None},
        {**EVENT, "ts": NOW + 2 * 3_600_000},
        {**EVENT, "ts": "2020-01-01T00:00:00Z"},
        [1],
        {"type": "traits", "user_id": "ann", "traits": {"list:vip": True}},
        {"type": "delete", "user_id": "ann"},
        {**EVENT, "properties": {"sku": "x" * 300_000}},
        {**EVENT, "properties": {"sku": "x", "deep": _nested(40)}},
        {**EVENT, "properties": {"sku": "x", "deep": _nested(400)}},
    ]
    told = [(row["status"], row.get("reason")) for row in shop.send(events).json()["results"]]
    assert told == [
        ("accepted", None),
        ("quarantined", "unknown-type"),
        ("quarantined", "wrong-type"),
        ("quarantined", "missing-user-id"),
        ("quarantined", "future"),
        ("quarantined", "too-old"),
        ("quarantined", "not-an-object"),
        ("refused", "list-trait"),
        ("refused", "may-not-delete"),
        ("refused", "too-large"),
        ("quarantined", "too-deep"),
        ("refused", "too-deep"),
    ]
    assert len(shop.broker.log) == 8, "what is put aside goes to the stream too"


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_an_event_leaves_out_is_filled_in(shop: Shop) -> None:
    bare = {"user_id": "ann", "type": "purchase"}
    result = shop.send(bare).json()["results"][0]
    assert result["status"] == "accepted"
    assert shop.sent() == [{**bare, "event_id": result["event_id"], "ts": NOW}]


def test_numbers_keep_every_digit(shop: Shop) -> None:
    text = b'{"event_id":"e","user_id":"a","type":"purchase","ts":1777626000000,"properties":'
    for number in (b"19.99", b"0.12345000000000000001", b"12345678901.00005", b"1e-7"):
        body = text + b'{"amount":' + number + b"}}"
        assert shop.send(body).json()["accepted"] == 1
        value = shop.broker.log[-1].value
        assert value == body or number == b"1e-7"


def test_the_same_idempotency_key_is_the_same_request(shop: Shop) -> None:
    bare = {"user_id": "ann", "type": "purchase"}
    first = shop.send(bare, Idempotency_Key="k1")
    packed = gzip.compress(json.dumps(bare).encode(), mtime=7)
    again = shop.send(packed, Idempotency_Key="k1", Content_Encoding="gzip")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert len(shop.broker.log) == 1
    other = shop.send({**bare, "user_id": "ben"}, Idempotency_Key="k1")
    assert (other.status_code, other.json()["code"]) == (409, "key-reused")


def test_after_a_restart_a_repeat_has_the_same_ids(shop: Shop, tmp_path: Path) -> None:
    bare = {"user_id": "ann", "type": "purchase"}
    shop.send([bare, bare], Idempotency_Key="k1")
    spool = Spool(tmp_path / "another", 1 << 20)
    with TestClient(made(shop.known, shop.broker, spool)) as client:
        Shop(client, shop.broker, shop.definitions, shop.known, []).send(
            [bare, bare], Idempotency_Key="k1"
        )
    spool.close()
    ids = [event["event_id"] for event in shop.sent()]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/v1/segment/track", TRACK, id="track"),
        pytest.param("/v1/segment/v1/track", TRACK, id="behind a host that ends in our path"),
        pytest.param("/v1/t", TRACK, id="as browsers call it"),
        pytest.param("/v1/segment/batch", {"batch": [TRACK]}, id="batch"),
        pytest.param("/v1/batch", {"batch": [TRACK], "sentAt": "2026-05-01T09:00:00Z"}, id="host"),
    ],
)
def test_segments_libraries_are_understood(shop: Shop, path: str, body: Any) -> None:
    answer = shop.send(body, path)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    (event,) = shop.sent()
    assert (event["type"], event["event_id"], event["user_id"]) == ("purchase", "m1", "ann")


def test_what_is_no_call_is_put_aside_whole(shop: Shop) -> None:
    calls = [{"type": "fly", "userId": "ann"}, 7, {**TRACK, "event": None}]
    rows = shop.send({"batch": calls}, "/v1/segment/batch").json()["results"]
    assert [(row["index"], row["status"], row["reason"]) for row in rows] == [
        (0, "quarantined", "unknown-call"),
        (1, "quarantined", "not-an-object"),
        (2, "quarantined", "missing-type"),
    ]
    assert shop.sent()[0]["call"] == calls[0]


def test_a_source_says_what_it_may(shop: Shop) -> None:
    delete = {"type": "delete", "user_id": "ann", "ts": NOW}
    assert shop.send(delete, key=TRUSTED).json()["accepted"] == 1
    refused = shop.send(delete)
    assert (refused.status_code, refused.json()["code"]) == (422, "all-refused")
    assert refused.json()["errors"] == [{"detail": "may-not-delete", "pointer": "#/0"}]
    forged = {**TRACK, "event": "delete"}
    assert shop.send(forged, "/v1/segment/track").status_code == 422
    join = {"type": "alias", "previousId": "a", "userId": "b", "messageId": "j"}
    assert shop.send(join, "/v1/segment/alias", key=LIMITED).status_code == 422
    assert shop.send(join, "/v1/segment/alias").json()["accepted"] == 1


def test_keys(shop: Shop) -> None:
    basic = base64.b64encode(f"{KEY}:".encode()).decode()
    assert shop.send(EVENT, key="", Authorization=f"Basic {basic}").status_code == 202
    assert shop.send({**TRACK, "writeKey": KEY}, "/v1/segment/track", key="").status_code == 200
    for refused in (
        shop.send(EVENT, key=""),
        shop.send(EVENT, key="hrw_wrong"),
        shop.send(EVENT, key="", Authorization="Basic %%%"),
        shop.send(EVENT, f"/v1/events?writeKey={KEY}", key=""),
    ):
        assert (refused.status_code, refused.json()["code"]) == (401, "unknown-key")
        assert "WWW-Authenticate" in refused.headers


def test_guessing_keys_is_slowed_whatever_address_is_claimed(shop: Shop) -> None:
    answers = [
        shop.send(EVENT, key=f"guess-{number}", X_Forwarded_For=f"10.0.0.{number}")
        for number in range(120)
    ]
    assert [answer.status_code for answer in answers] == [401] * 60 + [429] * 60
    assert answers[-1].headers["Retry-After"] == "1"
    unread = shop.send(b"no JSON at all", key="")
    assert unread.status_code == 429, "nor is a body of theirs read"
    assert shop.send(EVENT).status_code == 202, "those who have a key are let in"


def test_a_revoked_key_is_refused_and_without_postgres_the_others_go_on(shop: Shop) -> None:
    shop.definitions.is_down = True
    assert shop.send(EVENT).status_code == 202
    shop.definitions.is_down = False
    shop.definitions.found = shop.definitions.found[1:]
    shop.known.refresh()
    assert shop.send(EVENT).status_code == 401


def test_a_process_that_knows_nothing_yet_says_so(shop: Shop) -> None:
    shop.known.now = None
    assert shop.send(EVENT).json()["code"] == "sources-unavailable"
    assert shop.client.get("/readyz").status_code == 503


def test_a_source_has_a_rate(shop: Shop) -> None:
    event = {**EVENT, "event_id": None}
    assert shop.send([event] * 20, key=LIMITED).status_code == 202
    refused = shop.send([event] * 20, key=LIMITED)
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-events")
    assert refused.headers["Retry-After"] == "2"
    assert shop.send(event).status_code == 202, "another source has its own"
    shop.time[0] += 2
    assert shop.send([event] * 20, key=LIMITED).status_code == 202


def test_bodies_are_bounded_packed_or_not(shop: Shop) -> None:
    small = gzip.compress(json.dumps(EVENT).encode())
    assert shop.send(small, Content_Encoding="gzip").json()["accepted"] == 1
    bomb = gzip.compress(b"[" + b" " * (200 << 20) + b"]")
    for body, headers, status, code in (
        (b" " * (LARGEST + 1), {}, 413, "body-too-large"),
        (bomb, {"Content_Encoding": "gzip"}, 413, "body-too-large"),
        (small[:-4], {"Content_Encoding": "gzip"}, 400, "invalid-gzip"),
        (small + small, {"Content_Encoding": "gzip"}, 400, "invalid-gzip"),
        (b"no gzip", {"Content_Encoding": "gzip"}, 400, "invalid-gzip"),
        (b"x", {"Content_Encoding": "br"}, 415, "unknown-encoding"),
        (b"{", {}, 400, "invalid-json"),
        (b"[" * 200_000, {}, 400, "invalid-json"),
        (b"", {}, 400, "invalid-json"),
        (b"[]", {}, 422, "no-events"),
        (b"5", {}, 422, "no-events"),
        (b"[" + b"1," * 1_000 + b"1]", {}, 422, "too-many-at-once"),
    ):
        refused = shop.send(body, **headers)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert shop.client.get("/v1/events").status_code == 405
    assert shop.send({}, "/v1/segment/fly").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b'[{"x": 1e-99999999999999999999}]',
        b'[{"x": 0e9999999999999999999999}]',
        b'{"type": %b1%b, "user_id": "a"}' % (b"[" * 1_015, b"]" * 1_015),
        b'{"type": "purchase", "user_id": 123456789012345678901234567890}',
    ],
    ids=["a tiny exponent", "a zero's exponent", "a deep type", "a long number for an id"],
)
def test_odd_bodies_are_answered(shop: Shop, body: bytes) -> None:
    assert shop.send(body).status_code in (202, 400, 422)
    assert shop.send(body, key="").status_code in (400, 401)


def test_odd_calls_are_answered(shop: Shop) -> None:
    calls = [
        {**TRACK, "timestamp": "9999-12-31T23:59:59Z", "sentAt": "2020-01-01T00:00:00Z"},
        {**TRACK, "timestamp": "1970-01-01T00:00:00Z", "sentAt": "2099-01-01T00:00:00Z"},
        {**TRACK, "timestamp": {"$date": 1}},
        {**TRACK, "userId": 1234567890123456789},
        {**TRACK, "userId": ["ann"]},
        {**TRACK, "messageId": {"a": 1}},
        {"type": ["track"]},
        None,
    ]
    rows = shop.send({"batch": calls}, "/v1/segment/batch").json()["results"]
    reasons = [row.get("reason") for row in rows]
    assert reasons == [
        "future", "too-old", "bad-ts", None, "wrong-type", "wrong-type",
        "unknown-call", "not-an-object",
    ]  # fmt: skip
    assert shop.sent()[3]["user_id"] == "1234567890123456789"


def test_a_key_in_the_body_goes_no_further(shop: Shop) -> None:
    shop.send({**EVENT, "writeKey": KEY}, key="")
    shop.send({"type": "fly", "writeKey": KEY}, "/v1/segment/track", key="")
    shop.send({"writeKey": KEY, "batch": [{"type": "fly", "writeKey": KEY}]}, "/v1/batch", key="")
    assert len(shop.broker.log) == 3
    assert not [message for message in shop.broker.log if KEY.encode() in message.value]


def test_headers_that_are_no_text_are_no_key(shop: Shop) -> None:
    for header in (b"Basic \xe9", b"Basic \xff\xff", b"Bearer \xe9", b"\xe9"):
        answer = shop.client.post("/v1/events", json=EVENT, headers={b"authorization": header})
        assert answer.status_code == 401


def test_a_slow_broker_and_a_full_disk_are_told(shop: Shop) -> None:
    shop.broker.is_busy = True
    slow = shop.send(EVENT)
    assert (slow.status_code, slow.json()["code"]) == (503, "broker-slow")
    assert slow.headers["Retry-After"] == "1"
    shop.broker.is_busy, shop.broker.is_away = False, True
    kept = shop.send(EVENT)
    assert (kept.status_code, kept.json()["kept"]) == (202, "disk")
    big = [{**EVENT, "properties": {"sku": "x" * 200_000}}] * 6
    full = shop.send(big)
    assert (full.status_code, full.json()["code"]) == (503, "spool-full")
    assert shop.client.get("/readyz").json()["spool_bytes"] > 0


def test_browsers_may_send_from_the_pages_of_the_source(shop: Shop) -> None:
    page = "https://shop.example"
    asked = {"origin": page, "access-control-request-method": "POST"}
    preflight = shop.client.options("/v1/events", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == page
    assert shop.send(EVENT, Origin=page).headers["access-control-allow-origin"] == page
    elsewhere = {**asked, "origin": "https://evil.example"}
    refused = shop.client.options("/v1/events", headers=elsewhere)
    assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers
    assert "access-control-allow-origin" not in shop.client.get("/metrics", headers=asked).headers
    answer = shop.send(EVENT, Origin="https://evil.example")
    assert (answer.status_code, answer.json()["code"]) == (403, "origin-not-allowed")
    other = shop.send(EVENT, key=LIMITED, Origin=page)
    assert other.status_code == 403, "a key is for its own pages"
    assert len(shop.broker.log) == 1


def test_counts_are_in_the_metrics(shop: Shop) -> None:
    shop.send([EVENT, {**EVENT, "type": "nonsense"}])
    text = shop.client.get("/metrics").text
    assert 'headrace_ingest_events_total{source="shop",status="quarantined"} 1.0' in text
    assert "headrace_ingest_spool_bytes 0.0" in text


def patch(shop: Shop, user: str, traits: Any, key: str = KEY, **headers: str) -> Response:
    given = {"authorization": f"Bearer {key}"} | {
        n.replace("_", "-"): v for n, v in headers.items()
    }
    body = traits if isinstance(traits, bytes) else json.dumps(traits).encode()
    return shop.client.patch(f"/v1/users/{user}/traits", content=body, headers=given)


def test_traits_of_a_user_are_set(shop: Shop) -> None:
    answer = patch(shop, "o%2Fhara", {"age": 30, "city": None}, idempotency_key="k1")
    assert answer.status_code == 202 and answer.json()["accepted"] == 1
    (fact,) = shop.sent()
    assert fact.pop("event_id") == answer.json()["results"][0]["event_id"]
    assert fact == {
        "type": "traits", "user_id": "o/hara", "ts": NOW, "traits": {"age": 30, "city": None},
    }  # fmt: skip
    again = patch(shop, "o%2Fhara", {"age": 30, "city": None}, idempotency_key="k1")
    assert again.json() == answer.json() and len(shop.sent()) == 1
    zipped = gzip.compress(b'{"age": 31}')
    assert patch(shop, "ann", zipped, content_encoding="gzip").status_code == 202


@pytest.mark.parametrize(
    ("traits", "status", "code", "says"),
    [
        ({"age": "old"}, 422, "not-a-fact", "wrong-type"),
        ({"list:vip": True}, 422, "all-refused", "none of these"),
        ({}, 422, "no-traits", "at least one"),
        ({"lifetime_value": 5}, 422, "computed-trait", "computed from events"),
        (b'{"age":' * 300 + b"1" + b"}" * 300, 422, "too-deep", "nested"),
        ([1], 422, "no-traits", "an object"),
        (b"{", 400, "invalid-json", "not JSON"),
    ],
)
def test_traits_that_cannot_be_set_are_refused(
    shop: Shop, traits: Any, status: int, code: str, says: str
) -> None:
    answer = patch(shop, "ann", traits)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code and says in answer.json()["detail"]
    assert shop.sent() == []


def test_a_user_is_forgotten_for_those_who_may(shop: Shop) -> None:
    answer = shop.send(b"", "/v1/users/a%3Aforget:forget", TRUSTED)
    assert answer.status_code == 202, answer.text
    (fact,) = shop.sent()
    assert (fact["type"], fact["user_id"], fact["ts"]) == ("delete", "a:forget", NOW)
    assert shop.send(b"", "/v1/users/ann:forget").json()["code"] == "all-refused"
    assert shop.send(b"", "/v1/users/ann:forget", key="").status_code == 401
    assert patch(shop, "ann", {"age": 3}, key="wrong").status_code == 401
    assert len(shop.sent()) == 1


CLOUD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "c1",
    "source": "/shop",
    "type": "purchase",
    "subject": "ann",
    "time": "2026-05-01T09:00:00Z",
    "data": {"amount": 5},
}
CLOUDY = "application/cloudevents+json; charset=utf-8"
BATCHES = "application/cloudevents-batch+json"


def test_cloudevents_are_events(shop: Shop) -> None:
    assert shop.send(CLOUD, content_type=CLOUDY).json()["accepted"] == 1
    again = {**CLOUD, "id": "c2"}
    traits = {**CLOUD, "id": "c3", "type": "traits", "data": {"age": 3}}
    join = {**CLOUD, "id": "c4", "type": "alias", "data": {"from": "v", "to": "ann"}}
    answer = shop.send([again, traits, join], content_type=BATCHES)
    assert answer.json()["accepted"] == 3, answer.text
    headers = {f"ce-{name}": CLOUD[name] for name in ("specversion", "source", "type", "time")}
    headers |= {"ce-id": "c5", "ce-subject": "J%C3%BCrgen", "content-type": "application/json"}
    assert shop.send({"amount": 6}, **headers).json()["accepted"] == 1
    assert shop.send(b"", **{**headers, "ce-id": "c6"}).json()["accepted"] == 1
    sent = shop.sent()
    assert [fact["event_id"] for fact in sent] == [f"/shop#c{number}" for number in range(1, 7)]
    assert sent[0] == {
        "event_id": "/shop#c1", "user_id": "ann", "type": "purchase", "ts": "2026-05-01T09:00:00Z",
        "properties": {"amount": 5},
    }  # fmt: skip
    assert (sent[2]["traits"], sent[3]["from"], sent[3]["to"]) == ({"age": 3}, "v", "ann")
    assert (sent[4]["user_id"], sent[4]["properties"]) == ("Jürgen", {"amount": 6})
    assert "properties" not in sent[5]


def test_two_binary_cloudevents_are_not_one_for_their_key(shop: Shop) -> None:
    headers = {"ce-specversion": "1.0", "ce-type": "purchase", "ce-subject": "ann"}
    for name, status in (("a", 202), ("a", 202), ("b", 409)):
        answer = shop.send({"amount": 6}, **headers, ce_id=name, idempotency_key="k")
        assert answer.status_code == status, answer.text
    assert len(shop.sent()) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({**CLOUD, "specversion": "0.3"}, CLOUDY),
        ([CLOUD], CLOUDY),
        (CLOUD, BATCHES),
        ([CLOUD, 7], BATCHES),
        ({**CLOUD, "data_base64": "e30="}, CLOUDY),
        (7, CLOUDY),
    ],
)
def test_what_is_no_cloudevent_is_refused(shop: Shop, body: Any, kind: str) -> None:
    answer = shop.send(body, content_type=kind)
    assert (answer.status_code, answer.json()["code"]) == (422, "no-cloudevent")
    assert shop.sent() == []


def test_the_committed_document_is_the_apps(shop: Shop) -> None:
    app = shop.client.app
    assert isinstance(app, FastAPI)
    text = openapi_text(app)
    assert OPENAPI.read_text() == text, "write openapi_text(app) to serving/openapi-ingest.json"
