"""The API and the loader as processes, on real servers, asked over a real socket."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import pytest

from headrace.cache.rebuild import rebuild
from headrace.cache.writer import Writer
from headrace.clock import system_clock
from headrace.embedded.ports import choose_port
from headrace.errors import OperatorError
from headrace.kafka.confluent import ConfluentProducer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.memberships import (
    Activated,
    Activation,
    Change,
    UserChanges,
    encode_membership,
    heartbeat_marker,
)
from headrace.messages.topics import MEMBERSHIPS, in_namespace, topic
from headrace.rules.catalog import Catalog, Field
from headrace.rules.model import Compare, Segment, Trait
from headrace.rules.source import Rules
from headrace.rules.yaml import canonical
from headrace.serving.process import serve
from headrace.settings import Settings
from headrace.store import ApiKey, Store
from headrace.store.api_keys import new_api_key
from headrace.store.sources import hashed
from services import PATIENCE, ROOT, environment, get, process, wait_for, wait_until_stale


def user(name: str) -> bytes:
    change = Change(
        id="0" * 16, segment="big", version=1, entered=True, reason="event", at=5, effective_at=5
    )
    return encode_membership(UserChanges(user=name, n=1, at=5, first_seen=True, changes=(change,)))


def test_from_a_message_to_an_answer_which_is_flagged_when_the_loader_stops(
    settings: Settings,
) -> None:
    settings = settings.model_copy(update={"freshness_seconds": 2})
    port = choose_port()
    name = in_namespace(settings.namespace, MEMBERSHIPS)
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics(settings.namespace, (topic(MEMBERSHIPS),))
    # The rules were never told: what only Redis knows is flagged too.
    Store(settings.postgres_url.get_secret_value(), settings.namespace).migrate()
    with ExitStack() as stages:
        stages.enter_context(process("serve_api", settings, port))
        loader = stages.enter_context(ExitStack())
        loader.enter_context(process("load_memberships", settings))
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
                beat = heartbeat_marker(1, system_clock())
                producer.send(name, key=b"", value=beat.encode(), partition=partition)
            producer.flush()
        wait_for(port, "/v1/segments/big/members", 200)
        assert get(port, "/v1/segments/big/members")[1]["users"] == ["a/segments", "ann"]
        assert get(port, "/v1/users/a%2Fsegments")[1]["segments"][0]["segment"] == "big"
        answer = get(port, "/v1/users/ann/segments")[1]
        assert answer["as_of"] and not answer["stale"]
        loader.close()
        wait_until_stale(port, settings.freshness_seconds)
        assert get(port, "/v1/users/ann/segments")[1]["stale"]


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


def test_off_the_loopback_it_answers_nobody_without_a_key(
    settings: Settings, database_url: str
) -> None:
    everywhere = settings.model_copy(update={"api_host": "0.0.0.0", "api_anonymous": "none"})
    writer = Writer(settings.redis_url.get_secret_value(), settings.namespace)
    rebuild(writer, [("ann", 1, 1, [], None)], {0: 0}, active={}, as_of=5)
    writer.close()
    store, port, text = Store(database_url, settings.namespace), choose_port(), new_api_key()
    key = ApiKey(name="shop", key_hash=hashed(text), key_hint=text[:8], role="viewer")
    store.add_api_key(key, by="test")
    with process("serve_api", everywhere, port):
        wait_for(port, "/livez", 200)
        assert get(port, "/v1/users/ann")[0] == 401
        wait_for(port, "/v1/users/ann", 200, text)
        store.revoke_api_key("shop", by="test")
        wait_for(port, "/v1/users/ann", 401, text)
    assert store.api_keys()[0].last_used_at is not None
    store.close()
    with pytest.raises(OperatorError, match="HEADRACE_API_ANONYMOUS"):
        serve(everywhere.model_copy(update={"api_anonymous": "viewer"}))


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
