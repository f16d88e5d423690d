"""The API and the loader as processes, on real servers, asked over a real socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.cache.rebuild import rebuild
from headrace.cache.writer import Writer
from headrace.embedded.ports import choose_port
from headrace.kafka.confluent import ConfluentProducer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.memberships import (
    Activated,
    Activation,
    Change,
    UserChanges,
    encode_membership,
)
from headrace.messages.topics import MEMBERSHIPS, in_namespace, topic
from headrace.rules.catalog import Catalog, Field
from headrace.rules.model import Compare, Segment, Trait
from headrace.rules.source import Rules
from headrace.rules.yaml import canonical
from headrace.settings import Settings
from headrace.store import Store

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


def environment(settings: Settings, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HEADRACE_HOME": str(settings.home),
        "HEADRACE_NAMESPACE": settings.namespace,
        "HEADRACE_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "HEADRACE_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "HEADRACE_REDIS_URL": settings.redis_url.get_secret_value(),
        "HEADRACE_API_PORT": str(port),
    }


@contextmanager
def process(name: str, settings: Settings, port: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, f"jobs/{name}.py"],
        cwd=ROOT,
        env=environment(settings, port),
        stderr=subprocess.PIPE,
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        _, errors = started.communicate(timeout=PATIENCE)
        assert started.returncode in (0, 1), errors.decode()
        assert b"Traceback" not in errors, errors.decode()


def get(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def wait_for(port: int, path: str, status: int) -> Any:
    deadline = time.monotonic() + PATIENCE
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = get(port, path)
            if last[0] == status:
                return last[1]
        except (OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{path}: {last}")


def user(name: str) -> bytes:
    change = Change(
        id="0" * 16, segment="big", version=1, entered=True, reason="event", at=5, effective_at=5
    )
    return encode_membership(UserChanges(user=name, n=1, at=5, first_seen=True, changes=(change,)))


def test_from_a_message_to_an_answer(settings: Settings) -> None:
    port = choose_port()
    name = in_namespace(settings.namespace, MEMBERSHIPS)
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics(settings.namespace, (topic(MEMBERSHIPS),))
    with process("serve_api", settings, port), process("load_memberships", settings):
        wait_for(port, "/readyz", 200)
        status, body = get(port, "/v1/users/ann/segments")
        assert (status, body["code"]) == (404, "unknown-user")
        with ConfluentProducer(settings.kafka_bootstrap) as producer:
            for one in ("ann", "a/segments"):
                producer.send(name, key=one.encode(), value=user(one))
            producer.flush()
            marker = Activation(n=1, segments=(Activated("big", 1),))
            for partition in range(topic(MEMBERSHIPS).partitions):
                producer.send(name, key=b"", value=encode_membership(marker), partition=partition)
            producer.flush()
        wait_for(port, "/v1/segments/big/members", 200)
        assert get(port, "/v1/segments/big/members")[1]["users"] == ["a/segments", "ann"]
        assert get(port, "/v1/users/a%2Fsegments")[1]["segments"][0]["segment"] == "big"
        assert get(port, "/v1/users/ann/segments")[1]["as_of"]


def test_segments_outlive_postgres(settings: Settings, database_url: str) -> None:
    writer = Writer(settings.redis_url.get_secret_value(), settings.namespace)
    rebuild(writer, [("ann", 1, 1, [("vip", 1, 5)], None)], {0: 0}, active={"vip": 1}, as_of=5)
    segment = Segment(id="vip", name="Very", condition=Compare(Trait("age"), "exists", True))
    store = Store(database_url, settings.namespace)
    store.migrate()
    store.apply(Rules(Catalog(traits={"age": Field("integer")}), (segment,)), author="test")
    store.close()
    port = choose_port()
    with process("serve_api", settings, port):
        body = wait_for(port, "/v1/segments/vip", 200)
        assert (body["name"], body["version"], body["state"], body["size"]) == (
            "Very",
            1,
            "active",
            1,
        )
        assert body["definition"] == canonical(segment)
    # Postgres is gone when the next API starts: the shelf has a copy.
    away = settings.model_copy(
        update={
            "postgres_url": type(settings.postgres_url)("postgresql+psycopg2://h:p@127.0.0.1:9/x")
        }
    )
    with process("serve_api", away, port):
        body = wait_for(port, "/v1/segments/vip", 200)
        assert body["definition"] == canonical(segment)
        assert get(port, "/v1/users/ann")[0] == 200
    writer.close()


def test_a_port_that_is_taken_is_a_sentence(settings: Settings) -> None:
    port = choose_port()
    with process("serve_api", settings, port):
        wait_for(port, "/livez", 200)
        second = subprocess.run(
            [sys.executable, "jobs/serve_api.py"],
            cwd=ROOT,
            env=environment(settings, port),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert second.returncode == 1
    assert "HEADRACE_API_PORT" in second.stderr and "Traceback" not in second.stderr
