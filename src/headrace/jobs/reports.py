"""What the streaming job tells others of a batch, beside its tables and messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from headrace.errors import OperatorError
from headrace.jobs.target import JOB
from headrace.kafka.client import Producer
from headrace.kafka.kafka_python import KafkaPythonProducer
from headrace.messages.headers import TYPE_MARKER, DeadLetter, cloud_event
from headrace.messages.memberships import heartbeat_marker
from headrace.spark.protocol import Report
from headrace.store import Store

log = structlog.get_logger()

Watch = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Sends rejected rows to the dead-letter topic from a Spark task."""

    bootstrap: str
    topic: str

    def __call__(self, rows: Iterator[Any]) -> None:
        """Send each row (reason, raw, topic, partition, offset) and wait for the broker."""
        with KafkaPythonProducer(self.bootstrap) as producer:
            for row in rows:
                letter = DeadLetter(
                    raw=bytes(row["raw"] or b""),
                    reason=row["reason"],
                    topic=row["topic"],
                    partition=row["partition"],
                    offset=row["offset"],
                )
                producer.send(self.topic, value=letter.raw, headers=letter.headers)
            producer.flush()


@dataclass(slots=True)
class Reporter:
    """Tells the log, Postgres and, by a heartbeat in each partition, the loader of each batch."""

    store: Store
    producer: Producer
    memberships: str
    partitions: int
    watch: Watch | None = None
    _executing: str = field(default="", init=False)

    def __call__(self, done: Report) -> None:
        """Pass on one finished batch; Postgres being away costs its row, nothing else."""
        header = done.header
        details = {
            "n": header.n,
            "now": header.now,
            "plan": header.plan,
            "preparing": done.pending_plan,
            "events": done.events,
            **asdict(done.counts),
            "seconds": done.seconds,
            "ends": header.ends,
        }
        log.info("batch", **details)
        for partition in range(self.partitions):
            self.producer.send(
                self.memberships,
                key=b"",
                value=heartbeat_marker(header.n, header.now).encode(),
                headers=cloud_event(TYPE_MARKER, f"{header.n}:{partition}"),
                partition=partition,
            )
        self.producer.flush()
        try:
            if self._executing != header.plan:
                self.store.record_execution(JOB, header.plan, header.n)
                self._executing = header.plan
            self.store.heartbeat(JOB, details)
        except OperatorError as error:
            log.warning("postgres is away, progress is not recorded", error=str(error))
        if self.watch is not None:
            self.watch(done)
