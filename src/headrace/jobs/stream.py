"""The streaming job: settings in, one Spark query that runs until it is told to stop."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from headrace.errors import OperatorError
from headrace.kafka.kafka_python import KafkaPythonProducer
from headrace.messages.headers import TYPE_MARKER, DeadLetter, cloud_event
from headrace.messages.memberships import heartbeat_marker
from headrace.messages.topics import (
    CONTROL,
    DEAD,
    EVENTS,
    MEMBERSHIPS,
    SEGMENTS,
    in_namespace,
    topic,
)
from headrace.plan.model import Plan
from headrace.settings import Settings
from headrace.spark.offsets import OffsetLog
from headrace.spark.plans import KeptPlans
from headrace.spark.protocol import Course, Report, Surroundings, run_batch
from headrace.spark.publish import Outlet
from headrace.spark.session import open_session
from headrace.spark.start import checkpoint, find_start
from headrace.spark.stream import Inlet, open_rows, run_stream
from headrace.spark.tables import Lake
from headrace.store import Store

JOB = "stream"
# Postgres is asked for a new plan this often even when control.v1 is silent.
ASK_EVERY_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(slots=True)
class Target:
    """The plan Postgres wants to run; the last known one while Postgres is away."""

    store: Store
    plans: KeptPlans
    last: Plan | None = None
    asked_at: float = 0.0

    def __call__(self, told: bool) -> Plan:
        """Ask Postgres if it is time to, or ``told`` that something changed."""
        if self.last is None or told or time.monotonic() - self.asked_at > ASK_EVERY_SECONDS:
            self._ask()
        assert self.last is not None
        return self.last

    def _ask(self) -> None:
        try:
            found = self.store.target_plan(JOB)
        except OperatorError as error:
            if self.last is None:
                raise
            log.warning("postgres away, running on", error=str(error))
            return
        if found is None:
            raise OperatorError("no plan is active: `headrace apply RULES` first", code="HR912")
        self.asked_at = time.monotonic()
        hash, text = found
        if self.last is None or self.last.hash != hash:
            self.last = Plan.from_json(text)
            self.plans.keep(self.last)


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


def run(settings: Settings) -> None:
    """Run the streaming job until SIGTERM or SIGINT; returns after a batch, never inside one."""
    stopping = threading.Event()
    settings.home.mkdir(parents=True, exist_ok=True)
    lock = lock_tables(settings.home)
    spark = open_session("headrace-stream")
    lake = Lake(settings.tables_root)
    lake.create(spark)
    plans = KeptPlans(spark, settings.tables_root)
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    # After Spark, which has put its own handlers in place by now.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    start = find_start(spark, lake, settings.checkpoint_root)
    log.info("stream starts", generation=start.generation, reason=start.reason)
    target = Target(store, plans)
    job = target(True).job
    names = {
        name: in_namespace(settings.namespace, name) for name in (EVENTS, CONTROL, MEMBERSHIPS)
    }
    kafka = {"kafka.bootstrap.servers": settings.kafka_bootstrap}
    inlet = Inlet(
        kafka=kafka,
        events=names[EVENTS],
        control=names[CONTROL],
        max_events_per_batch=job.max_events_per_batch,
        trigger_ms=job.trigger_ms,
    )
    where = checkpoint(settings.checkpoint_root, start.generation)
    course = Course.after(start)
    with KafkaPythonProducer(settings.kafka_bootstrap) as producer:
        around = Surroundings(
            lake=lake,
            log=OffsetLog(where),
            outlet=Outlet(
                kafka={**kafka, "kafka.compression.type": "lz4", "kafka.acks": "all"},
                memberships=names[MEMBERSHIPS],
                segments=in_namespace(settings.namespace, SEGMENTS),
                dead_letters=DeadLetters(
                    settings.kafka_bootstrap, in_namespace(settings.namespace, DEAD)
                ),
            ),
            events_topic=names[EVENTS],
            control_topic=names[CONTROL],
            partitions=topic(MEMBERSHIPS).partitions,
            target=target,
            plan=plans.get,
            report=reporter(store, producer, names[MEMBERSHIPS]),
        )
        run_stream(
            open_rows(spark, inlet, start.starting_offsets),
            on_batch=lambda rows, batch_id: run_batch(rows, batch_id, course, around),
            checkpoint=where,
            inlet=inlet,
            stopping=stopping.is_set,
        )
    spark.stop()
    os.close(lock)


def reporter(
    store: Store, producer: KafkaPythonProducer, memberships: str
) -> Callable[[Report], None]:
    """Tells the log, Postgres and, by a heartbeat in each partition, the loader of each batch."""
    executing: list[str] = []

    def report(done: Report) -> None:
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
        for partition in range(topic(MEMBERSHIPS).partitions):
            producer.send(
                memberships,
                key=b"",
                value=heartbeat_marker(header.n, header.now).encode(),
                headers=cloud_event(TYPE_MARKER, f"{header.n}:{partition}"),
                partition=partition,
            )
        try:
            if executing != [header.plan]:
                store.record_execution(JOB, header.plan, header.n)
                executing[:] = [header.plan]
            store.heartbeat(JOB, details)
        except OperatorError as error:
            log.warning("postgres away, progress not recorded", error=str(error))

    return report


def lock_tables(home: Path) -> int:
    """Hold the lock that says: this process is the one writer of the tables under ``home``.

    Raises OperatorError when another process holds it. The lock goes with the process.
    """
    file = os.open(home / "stream.lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OperatorError(
            f"another streaming job writes the tables under {home}", code="HR913"
        ) from error
    return file
