"""A project on real servers whose streaming job runs in this process, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from headrace.jobs.stream import stream
from headrace.kafka.client import Record
from headrace.kafka.confluent import ConfluentConsumer, ConfluentProducer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import EVENTS, in_namespace
from headrace.metrics import Metrics
from headrace.plan.model import Plan
from headrace.rules.folder import load_rules
from headrace.rules.reference import reference_members
from headrace.runtime.publication import publish
from headrace.settings import Settings
from headrace.spark.course import Report
from headrace.spark.evaluate import state_members
from headrace.spark.plans import KeptPlans
from headrace.spark.session import Session
from headrace.spark.tables import Lake
from headrace.store import Store
from rule_folders import write_rules

Member = tuple[str, str]
PATIENCE_SECONDS = 150


@dataclass
class Deployment:
    """Sends events, runs the stream until something is so, and asks what it holds."""

    spark: Session
    settings: Settings
    rules: Path
    store: Store
    producer: ConfluentProducer
    lines: list[bytes] = field(default_factory=list)
    sent: int = 0
    reports: list[Report] = field(default_factory=list)
    held: dict[int, set[Member]] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
    patience_seconds: float = PATIENCE_SECONDS

    @classmethod
    @contextmanager
    def opened(cls, spark: Session, settings: Settings, rules: Path) -> Iterator[Deployment]:
        store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
        store.migrate()
        with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
            admin.create_topics(settings.namespace)
        with ConfluentProducer(settings.kafka_bootstrap) as producer:
            yield cls(spark, settings, rules, store, producer)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.tables_root)

    @property
    def last(self) -> Report:
        return self.reports[-1]

    @property
    def plan(self) -> Plan:
        return KeptPlans(self.spark, self.settings.tables_root).get(self.last.header.plan)

    def publish(self, segments: dict[str, str], catalog: str) -> None:
        """Make exactly these segments the active ones."""
        found = load_rules(write_rules(self.rules, segments, catalog))
        assert not found.errors, found.errors
        publish(self.store, self.settings, found, author="test", prune=True)

    def send(self, values: Iterable[dict[str, object] | bytes]) -> None:
        """Send events (kept for the oracle) or raw bytes that are none."""
        topic = in_namespace(self.settings.namespace, EVENTS)
        for value in values:
            raw = value if isinstance(value, bytes) else orjson.dumps(value)
            user = value.get("user_id", "") if isinstance(value, dict) else ""
            self.producer.send(topic, key=str(user).encode(), value=raw)
            self.lines.append(raw)
            self.sent += 1
        self.producer.flush()

    @property
    def counted(self) -> int:
        """Events the stream has told of, as accepted, repeated or quarantined."""
        done = {report.header.n: report.counts for report in self.reports}
        return sum(c.accepted + c.duplicates + c.quarantined for c in done.values())

    def run(self, until: Callable[[Report], bool] | None = None) -> Report:
        """Run the streaming job until ``until`` says so of a batch.

        By default until everything was read, and its joins and deletions carried out.
        """
        enough = until or self._is_settled
        deadline = time.monotonic() + self.patience_seconds
        done = False

        def watch(report: Report) -> None:
            nonlocal done
            self.reports.append(report)
            done = done or enough(report)

        stream(
            self.spark,
            self.settings,
            stopping=lambda: done or time.monotonic() > deadline,
            watch=watch,
            metrics=self.metrics,
        )
        assert done, f"not so within {self.patience_seconds} s: {self.reports[-3:]}"
        return self.last

    def _is_settled(self, report: Report) -> bool:
        return self.counted >= self.sent and report.header.linked == report.header.n

    def members(self) -> set[Member]:
        """Memberships in the stream's state; ``held`` remembers them by the batch's now."""
        rows = state_members(self.lake.latest_profiles(self.spark), plan=self.plan).collect()
        found = {(row["segment"], row["user_id"]) for row in rows}
        self.held[self.last.header.now] = found
        return set(found)

    def expected(self) -> set[Member]:
        """Memberships by the oracle over everything sent, at the newest batch's now."""
        found = load_rules(self.rules)
        at = self.last.header.now
        return set(reference_members(self.lines, found.segments, found.catalog, at))

    def read(self, name: str) -> list[Record]:
        """All messages on a topic so far."""
        topic = in_namespace(self.settings.namespace, name)
        found: list[Record] = []
        with ConfluentConsumer(self.settings.kafka_bootstrap, topic, f"{topic}-test") as consumer:
            bounds = consumer.bounds()
            consumer.start_at({number: bound.start for number, bound in bounds.items()})
            wanted = sum(bound.end - bound.start for bound in bounds.values())
            deadline = time.monotonic() + 10
            while len(found) < wanted:
                assert time.monotonic() < deadline, f"{topic} ends early"
                found += consumer.poll(1_000, 0.2)
        return found
