"""What the streaming job tells others of a batch, beside its tables and messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import structlog

from headrace.clock import SECOND, Instant
from headrace.errors import OperatorError
from headrace.jobs.backfills import BackfillRow
from headrace.jobs.outlet import Markers
from headrace.jobs.removals import Receipts
from headrace.jobs.stream_counts import Streams
from headrace.jobs.target import JOB
from headrace.messages.memberships import heartbeat_marker
from headrace.metrics import Metrics
from headrace.plan.model import Plan
from headrace.spark.course import Report
from headrace.store import Store

log = structlog.get_logger()

Watch = Callable[[Report], None]


@dataclass(slots=True)
class Reporter:
    """Tells the log, Postgres and, by a heartbeat in each partition, the loader of each batch.

    ``backfill`` hears of the history being read for new versions. A batch of ``most_events``, and
    one that left due users for the next, has not brought everything up to its now: it sends no
    heartbeat, so that answers grow old while the stream is behind.
    """

    store: Store
    markers: Markers
    backfill: BackfillRow
    receipts: Receipts
    most_events: int
    plan: Callable[[str], Plan]
    watch: Watch | None = None
    metrics: Metrics = field(default_factory=Metrics)
    _executing: str = field(default="", init=False)
    _streams: Streams = field(default_factory=Streams, init=False)
    # Up to when everything is published, as far as this life of the job knows.
    _as_of: Instant | None = field(default=None, init=False)

    def __call__(self, done: Report) -> None:
        """Pass on one finished batch; Postgres being away costs its row, nothing else."""
        header = done.header
        has_all = not (done.is_behind or self._is_full(done))
        self._as_of = header.now if has_all else self._as_of
        details = {
            "n": header.n,
            "now": header.now,
            "as_of": self._as_of,
            "plan": header.plan,
            "preparing": done.pending_plan,
            "built": done.built,
            "linked": header.linked == header.n,
            "events": done.events,
            "corrected": done.corrected,
            **asdict(done.counts),
            "seconds": done.seconds,
            "ends": header.ends,
        }
        streams = self._streams.follow(done, self.plan(header.plan))
        if streams:
            details["streams"] = streams
        log.info("batch", **details)
        self._count(done)
        if has_all:
            self.markers(heartbeat_marker(header.n, header.now), str(header.n))
        try:
            if self._executing != header.plan:
                self.store.record_execution(JOB, header.plan, header.n)
                self._executing = header.plan
            self.store.heartbeat(JOB, details)
            self.backfill.follow(done)
            self.receipts.follow(done.erased)
        except OperatorError as error:
            log.warning("postgres is away, progress is not recorded", error=str(error))
        if self.watch is not None:
            self.watch(done)

    def _is_full(self, done: Report) -> bool:
        """May Kafka hold more? Spark shares the limit among partitions and rounds each down."""
        partitions = sum(map(len, done.header.ends.values()))
        return done.events + partitions > self.most_events

    def _count(self, done: Report) -> None:
        counts = done.counts
        stored = counts.accepted + counts.duplicates
        self.metrics.count("headrace_events_total", stored, verdict="accepted")
        self.metrics.count("headrace_events_total", counts.quarantined, verdict="rejected")
        self.metrics.count("headrace_duplicates_total", counts.duplicates)
        self.metrics.count("headrace_changed_users_total", counts.messages)
        self.metrics.count("headrace_ids_lost_total", counts.ids_lost)
        self.metrics.count("headrace_published_events_total", counts.published)
        self.metrics.count("headrace_corrected_users_total", done.corrected)
        self.metrics.set("headrace_batch_timestamp_seconds", done.header.now / SECOND)
        for step, seconds in done.seconds.items():
            self.metrics.observe("headrace_batch_seconds", seconds, step=step)
