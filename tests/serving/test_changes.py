"""Streams and rejected messages over HTTP: what is passed on, and real servers behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from headrace.kafka.confluent import ConfluentConsumer, ConfluentProducer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.headers import DeadLetter
from headrace.messages.topics import DEAD, EVENTS, in_namespace
from headrace.serving.access import Keyring
from headrace.serving.app import create_app
from headrace.serving.changes import StoredChanges
from headrace.serving.ports import WantedLetters
from headrace.serving.problems import unavailable
from headrace.settings import Settings
from headrace.store import ApiKey, Store
from headrace.store.sources import hashed
from serving.fakes import AS_OF, FakeChanges, faked

OPERATOR = {"authorization": "Bearer hrk_op"}


@pytest.fixture
def keyring() -> Keyring:
    key = ApiKey(name="op", key_hash=hashed("hrk_op"), key_hint="hrk_op", role="operator")
    ring = Keyring(lambda: [key], anonymous="viewer", clock=lambda: AS_OF)
    ring.refresh()
    return ring


def test_what_is_asked_is_passed_on_with_who_asks(keyring: Keyring) -> None:
    changes = FakeChanges()
    client = TestClient(create_app(faked(changes=changes), keyring), headers=OPERATOR)
    kept = client.post("/v1/streams?incompatible=true&reason=new", content="kind: Stream\n")
    assert (kept.status_code, kept.json()) == (201, {"id": "orders", "version": 2})
    moved = client.post("/v1/streams/orders:activate?version=2&reason=why")
    assert moved.json() == {"id": "orders", "state": "active", "version": 2, "notes": ["a note"]}
    for verb in ("pause", "retire"):
        assert client.post(f"/v1/streams/orders:{verb}").status_code == 200
    fix = {"apiVersion": "headrace/v1", "kind": "Fix", "rename": {"usr": "user_id"}}
    asked = {"reasons": ["missing-user-id"], "fix": fix, "dry_run": True}
    assert client.post("/v1/dead-letters:replay", json=asked).json() == {
        "dry_run": True, "sent": 3, "sent_before": 1, "not_repaired": 1,
        "unfixable": {"events.v1/0/1": "usr is not there"},
    }  # fmt: skip
    wanted = WantedLetters(
        reasons=frozenset(("missing-user-id",)), fix=json.dumps(fix, separators=(",", ":"))
    )
    assert changes.done == [
        ("add", "kind: Stream\n", "key op", "new", True),
        ("activate", "orders", 2, "key op", "why"),
        ("pause", "orders", None, "key op", ""),
        ("retire", "orders", None, "key op", ""),
        ("replay", wanted, "key op", True),
    ]
    changes.trouble = unavailable("not-carried-out", "away")
    answer = client.post("/v1/streams/orders:pause")
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert client.post("/v1/streams", content=b"\xff").json()["code"] == "invalid-document"
    assert client.post("/v1/streams/orders:pause", headers={"authorization": ""}).status_code == 401


@pytest.fixture
def client(settings: Settings, keyring: Keyring) -> Iterator[TestClient]:
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    store.migrate()
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics(settings.namespace)
    changes = StoredChanges(store, settings, asyncio.Lock())
    app = create_app(faked(changes=changes), keyring)
    yield TestClient(app, headers=OPERATOR, raise_server_exceptions=False)
    store.close()


def test_a_stream_is_kept_read_and_ended(client: TestClient, settings: Settings) -> None:
    topic = f"{settings.namespace}shop.orders"
    document = {
        "apiVersion": "headrace/v1",
        "kind": "Stream",
        "metadata": {"id": "orders", "owner": "shop"},
        "spec": {
            "topic": topic,
            "partitions": 3,
            "map": {"type": "purchase", "user_id": "$.who", "ts": "$.at"},
        },
    }
    assert client.post("/v1/streams", json=document).json() == {"id": "orders", "version": 1}
    assert client.post("/v1/streams", json=document).json() == {"id": "orders", "version": 1}
    assert client.post("/v1/streams/orders:pause").json()["code"] == "not-now"
    assert client.post("/v1/streams/orders:activate").json()["state"] == "active"
    with ConfluentConsumer(settings.kafka_bootstrap, topic, "test") as consumer:
        assert len(consumer.bounds()) == 3, "its topic was made"
    document["spec"]["map"]["ts"] = "$.when"  # type: ignore[index]
    answer = client.post("/v1/streams", json=document)
    assert answer.status_code == 409 and answer.json()["code"] == "not-compatible"
    assert client.post("/v1/streams?incompatible=true", json=document).json()["version"] == 2
    assert client.post("/v1/streams/orders:pause").json()["state"] == "paused"
    assert client.post("/v1/streams/orders:retire").json()["state"] == "retired"
    answer = client.post("/v1/streams/order:activate")
    assert answer.status_code == 404 and "did you mean 'orders'?" in answer.json()["detail"]
    document["spec"]["topic"] = in_namespace(settings.namespace, EVENTS)  # type: ignore[index]
    assert client.post("/v1/streams", json=document).json()["code"] == "taken"

    broken = client.post("/v1/streams", content="apiVersion: headrace/v1\nkind: Stream\nspec: 5\n")
    assert broken.status_code == 422 and broken.json()["code"] == "invalid-document"
    assert "body:3:7" in broken.json()["errors"][1]["detail"]
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    assert store.verify_audit().broken_at is None
    store.close()


def test_rejected_messages_are_sent_again_once(client: TestClient, settings: Settings) -> None:
    events = in_namespace(settings.namespace, EVENTS)
    with ConfluentProducer(settings.kafka_bootstrap) as producer:
        for offset, raw in enumerate((b'{"usr":"ann","type":"login"}', b"no event")):
            letter = DeadLetter(
                raw=raw, reason="missing-user-id", topic=events, partition=0, offset=offset
            )
            producer.send(
                in_namespace(settings.namespace, DEAD), value=letter.raw, headers=letter.headers
            )
        producer.flush()
    fix = {"apiVersion": "headrace/v1", "kind": "Fix", "rename": {"usr": "user_id"}}
    asked = {"places": [f"{events}/0/0"], "fix": fix}

    def counts(**more: object) -> tuple[int, int, int]:
        told = client.post("/v1/dead-letters:replay", json={**asked, **more}).json()
        return told["sent"], told["sent_before"], told["not_repaired"]

    assert counts(dry_run=True) == (1, 0, 0)
    assert counts() == (1, 0, 0)
    assert counts() == (0, 1, 0)
    assert counts(places=None) == (0, 1, 1), "the other is no JSON"
    assert counts(places=None, reasons=["bad-ts"]) == (0, 0, 0)
    with ConfluentConsumer(settings.kafka_bootstrap, events, "test") as consumer:
        consumer.start_at(dict.fromkeys(consumer.bounds(), 0))
        (record,) = consumer.poll(10, 5.0)
    told = json.loads(record.value or b"")
    assert told == {"user_id": "ann", "type": "login", "event_id": f"letter:{events}/0/0"}
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    newest, *_ = store.progress("replay", kind="replay", limit=5)
    assert (newest.state, newest.details["by"], newest.details["before"]) == ("done", "key op", 0)
    store.close()
    nowhere = client.post("/v1/dead-letters:replay", json={"places": ["x/0/0"]})
    assert nowhere.status_code == 404 and nowhere.json()["code"] == "unknown-letter"
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    store.take_lease("replay", "somebody", timedelta(minutes=1))
    busy = client.post("/v1/dead-letters:replay", json=asked)
    assert busy.status_code == 409 and busy.json()["code"] == "busy"
    assert store.verify_audit().rows == 4 and store.verify_audit().broken_at is None
    store.close()
    broken = client.post("/v1/dead-letters:replay", json={"fix": {"kind": "Fix"}})
    assert broken.status_code == 422 and broken.json()["code"] == "invalid-document"


def test_while_a_server_is_away_nothing_is_said_of_where_it_is(
    settings: Settings, keyring: Keyring
) -> None:
    away = settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:9"})
    store = Store("postgresql+psycopg2://h:p@127.0.0.1:9/x")
    changes = StoredChanges(store, away, asyncio.Lock())
    app = create_app(faked(changes=changes), keyring)
    client = TestClient(app, headers=OPERATOR, raise_server_exceptions=False)
    answer = client.post("/v1/streams/orders:pause")
    assert answer.status_code == 503 and answer.json()["code"] == "not-carried-out"
    assert "127.0.0.1" not in answer.text
