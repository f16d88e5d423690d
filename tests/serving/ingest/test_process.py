"""The event API as a process on a real broker, which dies; and so does it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from headrace import embedded
from headrace.embedded import Servers
from headrace.embedded.children import Children
from headrace.embedded.ports import choose_port
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import EVENTS, in_namespace, topic
from headrace.settings import Settings
from headrace.store import Source, Store
from headrace.store.sources import hashed, new_key
from services import ROOT, environment, get, wait_for

BATCH = 20


@dataclass
class Sender:
    """Sends events one batch after the other, again and again until each is acknowledged."""

    port: int
    key: str
    kept: dict[str, list[str]] = field(default_factory=lambda: {"kafka": [], "disk": []})
    stopping: threading.Event = field(default_factory=threading.Event)
    number: int = 0
    odd: list[object] = field(default_factory=list)

    def run(self) -> None:
        while not self.stopping.is_set():
            ids = [f"e{self.number + place}" for place in range(BATCH)]
            while not self.is_acknowledged(ids):
                if self.stopping.wait(0.1):
                    return
            self.number += BATCH
            time.sleep(0.02)

    def is_acknowledged(self, ids: list[str]) -> bool:
        events = [
            {"event_id": one, "user_id": f"u{int(one[1:]) % 7}", "type": "purchase"} for one in ids
        ]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            headers = {"Authorization": f"Bearer {self.key}"}
            connection.request("POST", "/v1/events", json.dumps(events), headers)
            answer = connection.getresponse()
            told = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()
        if answer.status == 202:
            self.odd += [told] if told["accepted"] != len(ids) else []
            self.kept[told["kept"]] += ids
        return answer.status == 202


@contextmanager
def ingest(settings: Settings, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The process, ended by SIGTERM unless it has been killed."""
    told = environment(settings, 1) | {"HEADRACE_INGEST__PORT": str(port)}
    started = subprocess.Popen(
        [sys.executable, "jobs/serve_ingest.py"], cwd=ROOT, env=told, stderr=subprocess.PIPE
    )
    try:
        wait_for(port, "/readyz", 200)
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        _, errors = started.communicate(timeout=30)
        assert started.returncode in (0, -signal.SIGKILL), errors.decode()
        assert b"Traceback" not in errors, errors.decode()


@pytest.fixture
def broker(servers: Servers, database_url: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a broker of their own, since it is killed."""
    home = tmp_path / "home"
    given = Settings(
        home=home, postgres_url=database_url, redis_url=servers.redis_url, namespace="own."
    )
    with embedded.running(home, given) as started:
        yield given.model_copy(update={"kafka_bootstrap": started.kafka_bootstrap})


def test_what_was_acknowledged_outlives_the_death_of_broker_and_process(broker: Settings) -> None:
    with KafkaPythonAdmin(broker.kafka_bootstrap) as admin:
        admin.create_topics(broker.namespace, (topic(EVENTS),))
    port, key = choose_port(), new_key()
    sender = Sender(port, key)
    thread = threading.Thread(target=sender.run)
    store = Store(broker.postgres_url.get_secret_value(), broker.namespace)
    store.add_source(
        Source(name="shop", key_hash=hashed(key), key_hint=key[:8], events_per_second=100_000),
        by="test",
    )
    store.close()
    try:
        with ingest(broker, port) as first:
            thread.start()
            wait_until(lambda: len(sender.kept["kafka"]) > 100)
            record = Children(broker.home).record("kafka")
            assert record is not None
            os.kill(record.pid, signal.SIGKILL)
            wait_until(lambda: len(sender.kept["disk"]) > 100)
            first.kill()
        before = len(sender.kept["disk"])
        with ingest(broker, port):
            wait_until(lambda: len(sender.kept["disk"]) > before + 100)
            unset = broker.model_copy(update={"kafka_bootstrap": ""})
            assert embedded.up(broker.home, unset).kafka_bootstrap == broker.kafka_bootstrap
            done = len(sender.kept["kafka"])
            wait_until(lambda: len(sender.kept["kafka"]) > done + 100)
            wait_until(lambda: get(port, "/readyz")[1]["spool_bytes"] == 0)
            sender.stopping.set()
            thread.join(20)
    finally:
        sender.stopping.set()
    kept = {one for ids in sender.kept.values() for one in ids}
    assert sender.odd == []
    found = read_ids(broker)
    assert kept - set(found) == set()
    # Once it is back nothing on disk is overtaken: ids of a user appear first in their order.
    for user in range(7):
        first_seen = dict.fromkeys(number for number in map(number_of, found) if number % 7 == user)
        assert list(first_seen) == sorted(first_seen)


def number_of(identity: str) -> int:
    return int(identity[1:])


def wait_until(is_so: object) -> None:
    assert callable(is_so)
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "not so within a minute"
        time.sleep(0.05)


def read_ids(settings: Settings) -> list[str]:
    """The ids of all events on the topic, by partition and offset."""
    name = in_namespace(settings.namespace, EVENTS)
    with ConfluentConsumer(settings.kafka_bootstrap, name, "test") as consumer:
        bounds = consumer.bounds()
        consumer.start_at({part: bound.start for part, bound in bounds.items()})
        left = sum(bound.end - bound.start for bound in bounds.values())
        records = []
        while len(records) < left:
            records += consumer.poll(10_000, 1.0)
    records.sort(key=lambda record: (record.partition, record.offset))
    return [json.loads(record.value or b"")["event_id"] for record in records]
