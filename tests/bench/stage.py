"""The system under test: embedded servers, one streaming job, one loader, started from nothing."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import orjson
import redis
import sqlalchemy
from processes import Meter, alive
from workload import TYPES, WINDOWS, Measured, Rules, catalog_document, rule_name

from headrace import embedded
from headrace.clock import DAY
from headrace.embedded.children import Children
from headrace.jobs.batch_log import LoggedBatch, covers, logged_batches
from headrace.jobs.target import JOB
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import EVENTS, MEMBERSHIPS, TOPICS
from headrace.rules import model
from headrace.rules.source import Rules as RuleSet
from headrace.rules.yaml import parse_catalog
from headrace.runtime import publish
from headrace.runtime.supervisor import launch_command
from headrace.runtime.writer import Writer, Writers
from headrace.settings import Settings, load_settings
from headrace.store import Store

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = 1
STREAM, LOADER = f"stream-{LAUNCH}", "load"
START_SECONDS = 300.0
PATIENCE_SECONDS = 900.0


class Stuck(RuntimeError):
    """Something did not happen in time; the message says where to look."""


@dataclass(slots=True)
class Stage:
    """Servers under ``home``, and what runs on them."""

    home: Path
    settings: Settings
    children: Children
    writers: Writers
    writer: Writer | None = None

    @staticmethod
    def build(home: Path) -> Stage:
        """Start the servers on an empty ``home``."""
        Stage.clear(home)
        before = load_settings(None, flags={"home": str(home)})
        embedded.up(home, before)
        settings = load_settings(None, flags={"home": str(home)})
        return Stage(home, settings, Children(home), Writers(home, patience=60))

    @staticmethod
    def halt(home: Path) -> None:
        """End everything that runs under ``home``."""
        children = Children(home)
        for name in (STREAM, LOADER):
            children.stop(name)
        embedded.down(home)

    @staticmethod
    def clear(home: Path) -> None:
        """End what an earlier run left, and take its data away."""
        Stage.halt(home)
        shutil.rmtree(home, ignore_errors=True)

    @property
    def bootstrap(self) -> str:
        """The broker."""
        return self.settings.kafka_bootstrap

    def cache(self) -> redis.Redis:
        """A client of the cache."""
        return redis.Redis.from_url(
            self.settings.redis_url.get_secret_value(), decode_responses=True
        )

    def create_topics(self) -> None:
        """All topics of the table that are missing."""
        with KafkaPythonAdmin(self.bootstrap) as admin:
            admin.create_topics(self.settings.namespace)

    def reset(self) -> None:
        """As if nothing had ever run, but for the events in their topic."""
        self.stop()
        for folder in (self.settings.tables_root, self.settings.checkpoint_root):
            shutil.rmtree(folder, ignore_errors=True)
        url = self.settings.postgres_url.get_secret_value()
        engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("DROP SCHEMA IF EXISTS headrace CASCADE"))
        engine.dispose()
        self.cache().flushall()
        with KafkaPythonAdmin(self.bootstrap) as admin:
            admin.delete_topics([row.name for row in TOPICS if row.name != EVENTS])
        self.create_topics()

    def publish(self, rules: Rules, *, sends_on: bool = False) -> None:
        """Make ``rules`` the active ones; with ``sends_on`` accepted events are published too."""
        document = catalog_document(publish=sends_on)
        catalog = parse_catalog(orjson.dumps(document).decode(), "bench")
        segments = tuple(_segment(rules, number) for number in range(len(rules)))
        store = Store(self.settings.postgres_url.get_secret_value(), self.settings.namespace)
        publish(store, self.settings, RuleSet(catalog, segments), author="bench", reason="bench")
        store.close()

    def exchange(self, rules: Rules) -> None:
        """Make ``rules`` the active ones under the running stream; wait until Redis has them."""
        self.publish(rules)
        store = Store(self.settings.postgres_url.get_secret_value(), self.settings.namespace)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (running := store.running_plan(JOB)) is None or (
            running.plan_hash != store.target_hash(JOB)
        ):
            if time.monotonic() > deadline:
                raise Stuck(f"the rules were not taken; see {self.children.log_file(STREAM)}")
            time.sleep(0.5)
        store.close()
        self.await_drained(self.ends())

    def start(self) -> None:
        """Start the loader and the streaming job."""
        environment = {"HEADRACE_HOME": str(self.home)}
        for name in (STREAM, LOADER):
            self.children.log_file(name).unlink(missing_ok=True)
        self.children.start(
            LOADER,
            [sys.executable, "jobs/load_memberships.py"],
            cwd=ROOT,
            environment=environment,
        )
        command, cwd = launch_command(self.settings, None)
        self.writer = self.writers.start(LAUNCH, command, cwd=cwd)

    def stop(self) -> None:
        """End the streaming job between two batches, then the loader."""
        if self.writer is not None:
            self.writers.end(self.writer)
            self.writer = None
        self.children.stop(LOADER)

    def meter(self) -> Meter:
        """A meter of every process of the system."""
        parts = {
            "driver": STREAM,
            "loader": LOADER,
            "broker": "kafka",
            "redis": "redis",
            "postgres": "postgres",
        }
        return Meter(
            {part: alive(lambda name=name: self._pids(name)) for part, name in parts.items()}
        )

    def _pids(self, name: str) -> list[int]:
        record = self.children.alive(name)
        return [record.pid] if record is not None else []

    def ends(self, topic: str = EVENTS) -> dict[int, int]:
        """The next offset of each partition."""
        with ConfluentConsumer(self.bootstrap, topic, "bench") as consumer:
            return {part: bound.end for part, bound in consumer.bounds().items()}

    def batches(self) -> list[LoggedBatch]:
        """What the stream has reported."""
        return logged_batches([self.children.log_file(STREAM)])

    def first_batch_at(self) -> int:
        """Wait for the first batch to be planned; the instant Spark planned it."""
        file = Path(self.settings.checkpoint_root) / "stream/generation=0/offsets/0"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.children.alive(STREAM) is not None:
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
                return int(orjson.loads(lines[1])["batchTimestampMs"])
            except (OSError, IndexError, orjson.JSONDecodeError):
                time.sleep(0.02)
        raise Stuck(f"the stream makes no batch; see {self.children.log_file(STREAM)}")

    def await_drained(self, wanted: Mapping[int, int]) -> LoggedBatch:
        """Wait until a batch has read everything before ``wanted``, and Redis has it too."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            batches = self.batches()
            if batches and covers(batches[-1].ends.get(EVENTS, {}), wanted):
                last = batches[-1]
                break
            if self.children.alive(STREAM) is None:
                raise Stuck(f"the stream has ended; see {self.children.log_file(STREAM)}")
            time.sleep(0.25)
        else:
            raise Stuck(f"not drained after {PATIENCE_SECONDS:.0f} s")
        while self.loaded_up_to() < last.now:
            if time.monotonic() > deadline:
                raise Stuck(f"Redis lags behind; see {self.children.log_file(LOADER)}")
            time.sleep(0.1)
        return last

    def loaded_up_to(self) -> int:
        """The instant up to which the loader says Redis is complete."""
        text = self.cache().get("hr:loader")
        told = orjson.loads(text) if isinstance(text, str) else {}
        return int(told.get("as_of") or 0)


def _segment(rules: Rules, number: int) -> model.Segment:
    left, right = rules.conjuncts(number)
    return model.Segment(
        id=rule_name(number),
        condition=model.AllOf((_compare(*left), _compare(*right))),
        owner="bench",
    )


def _compare(measure: Measured, constant: int) -> model.Compare:
    counted = measure.function == "count"
    subject = model.Measure(
        "count" if counted else "sum",
        TYPES[measure.type],
        None if counted else "amount",
        None,
        model.Within(measure.days * DAY, WINDOWS[measure.days]),
    )
    value = Decimal(constant) if counted else Decimal(constant) / 100
    return model.Compare(subject, "gte", value)


__all__ = ["MEMBERSHIPS", "ROOT", "Stage", "Stuck"]
