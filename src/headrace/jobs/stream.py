"""The streaming job: settings in, one Spark query that runs until it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from headrace.jobs.backfills import BackfillRow
from headrace.jobs.outlet import Accepted, DeadLetters, Markers, Memberships
from headrace.jobs.removals import Receipts
from headrace.jobs.reports import Reporter, Watch
from headrace.jobs.table_lock import TableLock
from headrace.jobs.target import Target
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonProducer
from headrace.messages.topics import (
    ACCEPTED,
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
from headrace.spark.first_minute import keep_warm
from headrace.spark.offsets import OffsetLog
from headrace.spark.opening import Held, opening, topics_read
from headrace.spark.plans import KeptPlans
from headrace.spark.protocol import run_batch
from headrace.spark.publish import Outlet
from headrace.spark.session import Session, open_session
from headrace.spark.start import Start, checkpoint, find_start
from headrace.spark.stream import Inlet, open_rows, run_stream
from headrace.spark.tables import Lake
from headrace.spark.tombstones import Tombstones
from headrace.store import SERVICE_SECONDS, Store

log = structlog.get_logger()


def run(
    settings: Settings,
    *,
    accept_loss: bool = False,
    in_reserve: bool = False,
    metrics_port: int | None = None,
) -> None:
    """Run the streaming job until SIGTERM or SIGINT; returns after a batch, never inside one.

    ``in_reserve`` it gets warm, waits until the job that writes the tables is gone, however it
    ended, and goes on in its place.
    """
    stopping = threading.Event()
    lock = TableLock(settings.home)
    if not in_reserve:
        lock.require()
    spark = open_session("headrace-stream")
    # After Spark, which has put its own handlers in place by now.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if in_reserve:
        log.info("waits in reserve")
        keep_warm(spark, lambda: stopping.is_set() or lock.is_held())
    if lock.is_held():
        metrics = Metrics()
        if metrics_port is not None:
            metrics.serve(metrics_port)
        stream(spark, settings, stopping=stopping.is_set, accept_loss=accept_loss, metrics=metrics)
    spark.stop()
    lock.release()


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
    lake = Lake(settings.tables_root)
    lake.create(spark)
    key = tombstone_key(settings)
    Tombstones(lake, key).check_key(spark)
    plans = KeptPlans(spark, settings.tables_root)
    store = Store(
        settings.postgres_url.get_secret_value(), settings.namespace, patience=SERVICE_SECONDS
    )
    anew = LOSS_ACCEPTED if accept_loss else ""
    with KafkaPythonProducer(settings.kafka_bootstrap) as producer:
        while not stopping():
            start = find_start(
                spark,
                lake,
                settings.checkpoint_root,
                anew=anew,
                accepts_loss=anew == LOSS_ACCEPTED,
                control=in_namespace(settings.namespace, CONTROL),
            )
            log.info("stream starts", generation=start.generation, reason=start.reason)
            newest = plans.get(start.newest.plan) if start.newest else None
            target = Target(store, plans, newest)
            life = Life(spark, settings, start, target, producer, watch, metrics or Metrics(), key)
            life.run(stopping, accepts_loss=anew == LOSS_ACCEPTED)
            anew = OTHER_TOPICS


@dataclass(frozen=True, slots=True)
class Life:
    """One generation, or what is left of it: it ends when told to, or for other topics."""

    spark: Session
    settings: Settings
    start: Start
    target: Target
    producer: KafkaPythonProducer
    watch: Watch | None
    metrics: Metrics
    tombstone_key: str = field(repr=False)

    def run(self, stopping: Callable[[], bool], *, accepts_loss: bool) -> None:
        """Run batches until ``stopping``, or until their plan reads topics that this query does
        not."""
        settings, plans, ours = self.settings, self.target.plans, self._named(EVENTS)
        plan = self.target(True)
        opened = opening(
            self.start,
            plans.get(self.start.newest.plan) if self.start.newest else plan,
            ours=ours,
            control=self._named(CONTROL),
            held=lambda topic: held_by_kafka(settings, topic),
            accepts_loss=accepts_loss,
        )
        inlet = Inlet(
            kafka={"kafka.bootstrap.servers": settings.kafka_bootstrap, **PROMPT},
            opening=opened,
            max_events_per_batch=plan.job.max_events_per_batch,
            trigger_ms=plan.job.trigger_ms,
        )
        where = checkpoint(settings.checkpoint_root, self.start.generation)
        course = Course.after(self.start, opened)
        around = self._surroundings(where, plan.job.max_events_per_batch)

        def ends() -> bool:
            newest = course.newest
            return stopping() or (
                newest is not None
                and topics_read(plans.get(newest.plan), ours) != tuple(opened.events)
            )

        run_stream(
            open_rows(self.spark, inlet),
            on_batch=lambda rows, batch_id: run_batch(rows, batch_id, course, around),
            checkpoint=where,
            inlet=inlet,
            stopping=ends,
            tables=around.lake.root,
        )

    def _named(self, row: str) -> str:
        return in_namespace(self.settings.namespace, row)

    def _surroundings(self, where: str, most_events: int) -> Surroundings:
        bootstrap, target = self.settings.kafka_bootstrap, self.target
        memberships = self._named(MEMBERSHIPS)
        markers = Markers(self.producer, memberships, topic(MEMBERSHIPS).partitions)
        return Surroundings(
            lake=Lake(self.settings.tables_root),
            log=OffsetLog(where),
            outlet=Outlet(
                Memberships(bootstrap, memberships, self._named(SEGMENTS)),
                DeadLetters(bootstrap, self._named(DEAD)),
                Accepted(bootstrap, self._named(ACCEPTED)),
                markers,
            ),
            events_topic=self._named(EVENTS),
            control_topic=self._named(CONTROL),
            target=target,
            plan=target.plans.get,
            tombstone_key=self.tombstone_key,
            report=Reporter(
                target.store,
                markers,
                BackfillRow(target.store, target.plans.get),
                Receipts(target.store, self.tombstone_key),
                most_events,
                target.plans.get,
                self.watch,
                self.metrics,
            ),
        )


def held_by_kafka(settings: Settings, topic: str) -> Held:
    """The offsets that Kafka has of a topic the stream reads."""
    with ConfluentConsumer(settings.kafka_bootstrap, topic, "headrace-held") as consumer:
        return {part: (bound.start, bound.end) for part, bound in consumer.bounds().items()}


# A consumer asks for more while its last answer is read. Between two batches there is none, and
# each partition's next read would first wait for that request to give up: 500 ms by default.
PROMPT = {"kafka.fetch.max.wait.ms": "10"}
LOSS_ACCEPTED = "loss accepted"
OTHER_TOPICS = "streams have come or gone"
