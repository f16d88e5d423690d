"""The streaming job: settings in, one Spark query that runs until it is told to stop."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from headrace.errors import OperatorError
from headrace.jobs.backfills import BackfillRow
from headrace.jobs.outlet import DeadLetters, Markers, Memberships
from headrace.jobs.removals import Receipts
from headrace.jobs.reports import Reporter, Watch
from headrace.jobs.target import Target
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonProducer
from headrace.messages.topics import (
    CONTROL,
    DEAD,
    EVENTS,
    MEMBERSHIPS,
    SEGMENTS,
    in_namespace,
    topic,
)
from headrace.metrics import Metrics
from headrace.settings import Settings
from headrace.settings.keys import tombstone_key
from headrace.spark.course import Course, Surroundings
from headrace.spark.offsets import OffsetLog
from headrace.spark.plans import KeptPlans
from headrace.spark.protocol import run_batch
from headrace.spark.publish import Outlet
from headrace.spark.session import Session, open_session
from headrace.spark.start import Held, checkpoint, find_start
from headrace.spark.stream import Inlet, open_rows, run_stream
from headrace.spark.tables import Lake
from headrace.spark.tombstones import Tombstones
from headrace.store import SERVICE_SECONDS, Store

log = structlog.get_logger()


def run(settings: Settings, *, accept_loss: bool = False, metrics_port: int | None = None) -> None:
    """Run the streaming job until SIGTERM or SIGINT; returns after a batch, never inside one."""
    stopping = threading.Event()
    lock = lock_tables(settings.home)
    spark = open_session("headrace-stream")
    # After Spark, which has put its own handlers in place by now.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    metrics = Metrics()
    if metrics_port is not None:
        metrics.serve(metrics_port)
    stream(spark, settings, stopping=stopping.is_set, accept_loss=accept_loss, metrics=metrics)
    spark.stop()
    os.close(lock)


def stream(
    spark: Session,
    settings: Settings,
    *,
    stopping: Callable[[], bool],
    watch: Watch | None = None,
    accept_loss: bool = False,
    metrics: Metrics | None = None,
) -> None:
    """Put the parts together and run batches until ``stopping``; ``watch`` hears of each.

    With ``accept_loss`` a new generation passes over what Kafka no longer holds.
    """
    kafka = {"kafka.bootstrap.servers": settings.kafka_bootstrap, **PROMPT}
    named = {row: in_namespace(settings.namespace, row) for row in TOPICS_USED}
    lake = Lake(settings.tables_root)
    lake.create(spark)
    held = held_by_kafka(settings) if accept_loss else None
    key = tombstone_key(settings)
    Tombstones(lake, key).check_key(spark)
    start = find_start(spark, lake, settings.checkpoint_root, held=held, control=named[CONTROL])
    log.info("stream starts", generation=start.generation, reason=start.reason)
    plans = KeptPlans(spark, settings.tables_root)
    target = Target(
        Store(
            settings.postgres_url.get_secret_value(), settings.namespace, patience=SERVICE_SECONDS
        ),
        plans,
        plans.get(start.newest.plan) if start.newest else None,
    )
    job = target(True).job
    inlet = Inlet(
        kafka=kafka,
        events=named[EVENTS],
        control=named[CONTROL],
        max_events_per_batch=job.max_events_per_batch,
        trigger_ms=job.trigger_ms,
    )
    where = checkpoint(settings.checkpoint_root, start.generation)
    course = Course.after(start)
    with KafkaPythonProducer(settings.kafka_bootstrap) as producer:
        markers = Markers(producer, named[MEMBERSHIPS], topic(MEMBERSHIPS).partitions)
        around = Surroundings(
            lake=lake,
            log=OffsetLog(where),
            outlet=Outlet(
                Memberships(settings.kafka_bootstrap, named[MEMBERSHIPS], named[SEGMENTS]),
                DeadLetters(settings.kafka_bootstrap, named[DEAD]),
                markers,
            ),
            events_topic=named[EVENTS],
            control_topic=named[CONTROL],
            target=target,
            plan=plans.get,
            tombstone_key=key,
            report=Reporter(
                target.store,
                markers,
                BackfillRow(target.store, plans.get),
                Receipts(target.store, key),
                job.max_events_per_batch,
                watch,
                metrics or Metrics(),
            ),
        )
        run_stream(
            open_rows(spark, inlet, start.starting_offsets),
            on_batch=lambda rows, batch_id: run_batch(rows, batch_id, course, around),
            checkpoint=where,
            inlet=inlet,
            stopping=stopping,
            tables=lake.root,
        )


def held_by_kafka(settings: Settings) -> Held:
    """The offsets that Kafka has of the topics the stream reads."""
    held = {}
    for name in (in_namespace(settings.namespace, row) for row in (EVENTS, CONTROL)):
        with ConfluentConsumer(settings.kafka_bootstrap, name, "headrace-held") as consumer:
            bounds = consumer.bounds()
        held[name] = {part: (bound.start, bound.end) for part, bound in bounds.items()}
    return held


# A consumer asks for more while its last answer is read. Between two batches there is none, and
# each partition's next read would first wait for that request to give up: 500 ms by default.
PROMPT = {"kafka.fetch.max.wait.ms": "10"}
TOPICS_USED = (EVENTS, CONTROL, MEMBERSHIPS, SEGMENTS, DEAD)


def lock_tables(home: Path) -> int:
    """Hold the lock that says: this process is the one writer of the tables under ``home``.

    Raises OperatorError when another process holds it. The lock goes with the process.
    """
    home.mkdir(parents=True, exist_ok=True)
    file = os.open(home / "stream.lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OperatorError(
            f"another streaming job writes the tables under {home}", code="HR913"
        ) from error
    return file
