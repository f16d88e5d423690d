"""Clients of others, as they come from their registries: `make clients`.

Segment's libraries for Node and Python speak to the event API as their readers set them up, with a
host and a write key and nothing else; that of CloudEvents sends what it makes; kafkajs writes
to Kafka. Everything they say must be on the
topic, and be a fact to the stream's judge. Schemathesis asks what the event API's own description
makes it think of: nothing may be answered that is not described there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from circumstances import ROOT
from headrace.clock import system_clock
from headrace.embedded import Servers, running
from headrace.embedded.ports import choose_port
from headrace.engine.judge import Judge
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import EVENTS, topic
from headrace.rules.folder import load_rules
from headrace.settings import Settings
from headrace.store import Source, Store
from headrace.store.sources import hashed, new_key
from serving.ingest.test_process import ingest

HERE = Path(__file__).parent
CASES = os.environ.get("CASES", "2000")  # of each operation: some five minutes in all
UV = shutil.which("uv") or str(ROOT / ".cache" / "uv" / "bin" / "uv")
CATALOG = load_rules(ROOT / "rules").catalog


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts beside the modules of the lock file."""
    folder = tmp_path_factory.mktemp("node")
    for file in HERE.iterdir():
        if file.suffix in (".json", ".mjs"):
            shutil.copy(file, folder)
    words = ["npm", "ci", "--no-audit", "--no-fund"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running(tmp_path_factory.mktemp("clients") / "home") as found:
        yield found


@pytest.fixture
def settings(servers: Servers, database_url: str, namespace: str, tmp_path: Path) -> Settings:
    with KafkaPythonAdmin(servers.kafka_bootstrap) as admin:
        admin.create_topics(namespace, (topic(EVENTS),))
    return Settings(
        home=tmp_path / "home",
        namespace=namespace,
        postgres_url=database_url,
        kafka_bootstrap=servers.kafka_bootstrap,
        redis_url=servers.redis_url,
    )


def facts(settings: Settings) -> list[tuple[str, str]]:
    """(user, type) of each message on the topic, which must be a fact."""
    catalog = CATALOG
    judge = Judge(catalog, now=system_clock(), retention_ms=None)
    judge_all = Judge(type(catalog)(), now=system_clock(), retention_ms=None)
    name = settings.namespace + EVENTS
    found = []
    with ConfluentConsumer(settings.kafka_bootstrap, name, "clients") as consumer:
        bounds = consumer.bounds()
        consumer.start_at({part: bound.start for part, bound in bounds.items()})
        left = sum(bound.end - bound.start for bound in bounds.values())
        while len(found) < left:
            for record in consumer.poll(1_000, 1.0):
                value = record.value or b""
                is_known = orjson.loads(value)["type"] in (*catalog.events, "traits", "alias")
                # Our shop's catalog lacks page, screen and group; by form they are facts.
                _, user, kind, *_ = (judge if is_known else judge_all).fact(value)
                found.append((user, kind))
    return found


@pytest.fixture
def host(settings: Settings) -> Iterator[tuple[str, str]]:
    """The address of an event API, and a write key."""
    port, key = choose_port(), new_key()
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    store.apply(load_rules(ROOT / "rules"), author="test")
    source = Source(name="x", key_hash=hashed(key), key_hint=key[:8], events_per_second=10**6)
    store.add_source(source, by="test")
    store.close()
    with ingest(settings, port):
        yield f"http://127.0.0.1:{port}", key


@pytest.mark.parametrize("path", ["", "/v1/segment"])
def test_segments_library_for_node(
    node: Path, host: tuple[str, str], settings: Settings, path: str
) -> None:
    run("node", "segment_node.mjs", host[0] + path, host[1], cwd=node)
    assert Counter(facts(settings)) == Counter(
        [
            ("ann", "traits"), ("ann", "alias"), ("ann", "purchase"), ("visitor-2", "add_to_cart"),
            ("ann", "page"), ("ann", "screen"), ("ann", "group"), ("ann", "alias"),
        ]
    )  # fmt: skip


def test_segments_library_for_python(host: tuple[str, str], settings: Settings) -> None:
    library = "segment-analytics-python==2.4.0"
    words = ["run", "--isolated", "--no-project", "--with", library, "python", "segment_python.py"]
    run(UV, *words, host[0], host[1], cwd=HERE)
    assert Counter(facts(settings)) == Counter(
        [
            ("bob", "traits"), ("bob", "alias"), ("bob", "purchase"), ("bob", "page"),
            ("bob", "screen"), ("bob", "group"), ("bob", "alias"),
        ]
    )  # fmt: skip


def test_cloudevents_library_for_python(host: tuple[str, str], settings: Settings) -> None:
    library = "cloudevents==1.12.1"
    script = "cloudevents_python.py"
    words = ["run", "--isolated", "--no-project", "--with", library, "python", script]
    run(UV, *words, host[0], host[1], cwd=HERE)
    assert facts(settings) == [("dan", "purchase"), ("dan", "purchase")]


def test_what_the_description_makes_one_think_of(host: tuple[str, str]) -> None:
    words = ["tool", "run", "--from", "schemathesis==4.32.5", "schemathesis", "run"]
    key = ["--header", f"Authorization: Bearer {host[1]}"]
    how = ["--phases", "examples,coverage,fuzzing", "--max-examples", CASES, "--no-color"]
    run(UV, *words, f"{host[0]}/openapi.json", *key, *how, cwd=HERE, seconds=1_800)


def test_a_kafka_producer_in_another_language(node: Path, settings: Settings) -> None:
    run("node", "kafka_node.mjs", settings.kafka_bootstrap, settings.namespace + EVENTS, cwd=node)
    assert facts(settings) == [("cem", "purchase")]


def run(*words: str, cwd: Path, seconds: float = 300) -> None:
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
