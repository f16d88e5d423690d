"""How streams are: from rows and counts to states, sentences, and answers over HTTP."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from headrace.clock import MINUTE, SECOND, Instant
from headrace.errors import OperatorError
from headrace.kafka.client import KafkaDown
from headrace.rules.catalog import Catalog, Computed
from headrace.rules.model import Measure
from headrace.rules.streams import parse_stream
from headrace.rules.streams.carriers import carried
from headrace.serving.app import create_app
from headrace.serving.streams import OLDEST, StoredStreams, StreamHealth, health_of, troubled
from headrace.store import Progress, StoredStream, StoredVersion
from serving.fakes import AS_OF, EVERYBODY, FakeStreams, faked
from serving.test_api import problem

DOCUMENT = """
apiVersion: headrace/v1
kind: Stream
metadata: {id: orders, owner: shop}
spec:
  topic: shop.orders
  silent_after: 10 minutes
  map: {type: purchase, user_id: $.u, ts: $.t}
"""
THEN = datetime.fromtimestamp(AS_OF / 1000, UTC)
STORED = StoredStream(
    id="orders",
    state="active",
    version=1,
    newest=2,
    text=DOCUMENT,
    author="ann",
    since=THEN - timedelta(hours=1),
)


def launch(**details: Any) -> Progress:
    return Progress(
        id=1,
        job="stream",
        kind="launch",
        state="running",
        pid=1,
        exit_code=None,
        log_path=None,
        plan_hash=None,
        started_at=THEN - timedelta(hours=1),
        updated_at=THEN,
        ended_at=None,
        details={"ends": {"shop.orders": {"0": 10, "1": 4}}, "now": AS_OF, **details},
    )


def told(**more: Any) -> dict[str, Any]:
    counts = {"accepted": 7, "rejected": 3, "last_at": AS_OF - SECOND, "rate": 0.5}
    return {"streams": {"orders": {**counts, "rejected_share": 0.3, "failing": "", **more}}}


def judged(stored: StoredStream, *launches: Progress, ends: Any = None) -> StreamHealth:
    return health_of(stored, launches, ends, now=AS_OF, target=MINUTE)


def test_an_active_stream_tells_what_it_brings_and_what_waits() -> None:
    found = judged(STORED, launch(**told()), ends={"shop.orders": {0: 12, 1: 5}})
    assert (found.state, found.accepted, found.rejected, found.unread) == ("active", 7, 3, 3)
    assert (found.rate, found.rejected_share, found.as_of) == (0.5, 0.3, AS_OF)
    assert judged(STORED, launch(**told())).unread is None, "nobody asked Kafka"


@pytest.mark.parametrize(
    ("stored", "launches", "state", "why"),
    [
        (replace(STORED, state="paused"), [launch()], "paused", ""),
        (replace(STORED, state="draft"), [], "draft", ""),
        (replace(STORED, since=THEN), [launch(ends={})], "starting", "not read yet"),
        (STORED, [launch(ends={})], "failing", "not read yet"),
        (STORED, [launch(**told(failing="all bad"))], "failing", "all bad"),
        (STORED, [launch(**told(last_at=AS_OF - 11 * MINUTE))], "silent", "since 2026-01-12T09:49"),
        (STORED, [launch(**told(last_at=None))], "silent", "no message since 2026-01-12T09:00"),
        (replace(STORED, since=THEN), [launch(**told(last_at=None))], "active", ""),
        (STORED, [launch(ends={}), launch(**told())], "active", ""),
    ],
)
def test_states(stored: StoredStream, launches: list[Progress], state: str, why: str) -> None:
    found = judged(stored, *launches)
    assert found.state == state and why in found.why


RULES = {
    "direct": "{did: purchase}",
    "steps": "{sequence: [{event: login}, {event: purchase}]}",
    "through": "{not: {segment: direct}}",
    "other": "{all: [{did: login}, {trait: age, gt: 3}, {list: vip}]}",
    "named": "{trait: worth, gt: 3}",
    "unreadable": "{later: than this release}",
}
VERSIONS = [
    StoredVersion(
        segment_id=name, version=1, state="active", content_hash="", author="", reason="",
        created_at=THEN, activated_at=THEN, retired_at=None,
        text="apiVersion: headrace/v1\nkind: Segment\n"
        f"metadata: {{id: {name}}}\nspec: {{match: {rule}}}\n",
    )
    for name, rule in RULES.items()
]  # fmt: skip
CATALOG = Catalog(computed={"worth": Computed(Measure("sum", "purchase", "amount"))})


def waiting(*streams: StreamHealth) -> dict[str, list[str]]:
    """Segments that wait, with the ids of the streams they wait for."""
    found = troubled(VERSIONS, streams, lambda: CATALOG)
    return {segment: [one.stored.id for one in those] for segment, those in found.items()}


def test_segments_that_need_what_does_not_come_are_named() -> None:
    paused = judged(replace(STORED, state="paused"))
    assert waiting(paused) == {
        segment: ["orders"] for segment in ("direct", "named", "steps", "through")
    }
    works = judged(STORED, launch(**told()))
    assert waiting(works) == {}
    assert waiting(paused, works) == {}, "another brings it"
    unknown = replace(STORED, text=DOCUMENT.replace("type: purchase", "type: $.kind"), version=2)
    assert waiting(paused, judged(unknown, launch(**told()))) == {}, "it may"


def test_nobody_asks_for_the_catalog_while_all_streams_work() -> None:
    def asked() -> Catalog:
        raise AssertionError("asked")

    assert troubled(VERSIONS, [judged(STORED, launch(**told()))], asked) == {}


def test_a_text_of_another_release_is_a_stream_that_fails() -> None:
    later = replace(STORED, text='{"apiVersion": "headrace/v9"}', version=3)
    found = judged(later, launch())
    assert found.state == "failing" and "another release" in found.why
    draft = judged(replace(later, state="draft"))
    assert waiting(found, draft) == {}
    app = create_app(faked(streams=FakeStreams((found,))), EVERYBODY, clock=lambda: AS_OF)
    client = TestClient(app)
    assert client.get("/v1/streams").json()["streams"][0]["state"] == "failing"
    assert client.get("/v1/streams/orders").json()["document"] == {"apiVersion": "headrace/v9"}


def test_what_is_paused_is_said() -> None:
    paused = judged(replace(STORED, state="paused"))
    assert paused.in_words == "stream orders is paused since 2026-01-12T09:00:00.250Z"


def test_a_stream_carries_what_it_says() -> None:
    assert carried(parse_stream(DOCUMENT)) == {"purchase"}
    open_ = DOCUMENT.replace("type: purchase", "type: $.kind")
    assert carried(parse_stream(open_)) is None
    named = open_.replace("topic:", "types: [login, logout]\n  topic:")
    assert carried(parse_stream(named)) == {"login", "logout"}


@pytest.fixture
def streams() -> FakeStreams:
    failing = judged(STORED, launch(**told(failing="all bad", reasons={"bad-ts": 3})))
    return FakeStreams((failing,))


@pytest.fixture
def client(streams: FakeStreams) -> TestClient:
    app = create_app(faked(streams=streams), EVERYBODY, clock=lambda: AS_OF)
    return TestClient(app, raise_server_exceptions=False)


def test_answers(client: TestClient, streams: FakeStreams) -> None:
    (row,) = client.get("/v1/streams").json()["streams"]
    assert (row["id"], row["state"], row["why"]) == ("orders", "failing", "all bad")
    assert (row["version"], row["newest_version"], row["event_types"]) == (1, 2, ["purchase"])
    detail = client.get("/v1/streams/orders").json()
    assert detail["document"]["spec"]["silent_after"] == "10 minutes"
    health = client.get("/v1/streams/orders/health").json()
    assert health["reasons"] == {"bad-ts": 3} and health["rate"] == 0.5
    assert health["unread"] is None and health["last_message_at"] == "2026-01-12T09:59:59.250Z"
    for path in ("/v1/streams/order", "/v1/streams/order/health"):
        assert (
            "did you mean 'orders'?" in problem(client.get(path), 404, "unknown-stream")["detail"]
        )
    streams.found = None
    problem(client.get("/v1/streams"), 503, "definitions-unavailable")


class Servers:
    """Postgres and Kafka, counted."""

    def __init__(self) -> None:
        self.asked = 0
        self.now: Instant = AS_OF
        self.kafka = True

    def streams(self) -> list[StoredStream]:
        assert threading.current_thread() is not threading.main_thread()
        self.asked += 1
        return [STORED]

    def ends(self, topics: Any) -> dict[str, dict[int, int]]:
        if not self.kafka:
            raise KafkaDown("x")
        return {topic: {0: 11, 1: 4} for topic in topics}


def test_what_is_told_is_seconds_old_at_most() -> None:
    servers = Servers()
    stored = StoredStreams(
        servers.streams,
        lambda: [launch(**told())],
        servers.ends,
        target=MINUTE,
        clock=lambda: servers.now,
    )

    async def ask() -> None:
        answers = await asyncio.gather(*(stored.health() for _ in range(20)))
        assert servers.asked == 1, "those who ask at once are answered together"
        assert [found[0].unread for _, found in answers] == [1] * 20
        servers.now += OLDEST + 1
        servers.kafka = False
        as_of, (found,) = await stored.health()
        assert (as_of, found.unread, found.state) == (servers.now, None, "active")
        assert servers.asked == 2

    asyncio.run(ask())


def test_nobody_can_say_while_postgres_is_away() -> None:
    def away() -> list[StoredStream]:
        raise OperatorError("Postgres does not answer")

    stored = StoredStreams(away, list, lambda _: {}, target=MINUTE)
    with pytest.raises(OperatorError):
        asyncio.run(stored.health())
