"""What our processes measure of themselves: every name, with what it means.

This is the one place that knows prometheus-client. A process counts by name; the API serves its
own numbers under ``/metrics``, and every other process may serve its own on a port.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)

CounterName: TypeAlias = Literal[
    # Events the stream has stored, by verdict: accepted, rejected.
    "headrace_events_total",
    # Accepted events that had been accepted before, and count once.
    "headrace_duplicates_total",
    # Event ids let go for a user's newer 1,024 within the horizon: repeats of them would count.
    "headrace_ids_lost_total",
    # Accepted events sent on to events.accepted.v1.
    "headrace_published_events_total",
    # Users told anew because a recompute found their state wrong.
    "headrace_corrected_users_total",
    # Messages published to memberships.v1: users whose memberships or traits changed.
    "headrace_changed_users_total",
    # Messages the loader has read, by outcome: applied, stale, broken.
    "headrace_loaded_messages_total",
    # Launches of the streaming job by the watcher, and ends of it that nobody asked for.
    "headrace_launches_total",
    "headrace_crashes_total",
    # HTTP answers, by route and status.
    "headrace_http_requests_total",
    # Events that came in over HTTP, by source and status: accepted, quarantined, refused.
    "headrace_ingest_events_total",
]

GaugeName: TypeAlias = Literal[
    # Freshness first: seconds from the newest served membership's batch to now.
    "headrace_freshness_seconds",
    # Segments whose memberships are older than freshness_seconds, or cannot be read at all.
    "headrace_stale_segments",
    # 1 for each of those and 0 for the others, by segment.
    "headrace_segment_stale",
    # Messages of memberships.v1 the loader has not applied yet.
    "headrace_loader_lag_messages",
    # Instant of the stream's newest batch, as seconds since 1970.
    "headrace_batch_timestamp_seconds",
    # Users in a segment, by segment.
    "headrace_segment_members",
    # Claims about data quality that did not hold when last checked, by suite.
    "headrace_quality_failed_claims",
    # Instant as of which they were checked, as seconds since 1970.
    "headrace_quality_timestamp_seconds",
    # 1 for each segment whose outputs are held, by segment.
    "headrace_segment_held",
    # 1 while the streaming job's process lives.
    "headrace_job_up",
    # Bytes of events that wait on disk until Kafka takes them.
    "headrace_ingest_spool_bytes",
]

HistogramName: TypeAlias = Literal[
    # Seconds of one micro-batch, by step.
    "headrace_batch_seconds",
    # Seconds to answer an HTTP request, by route.
    "headrace_http_seconds",
    # Seconds from a batch's now to its application in Redis.
    "headrace_load_delay_seconds",
]

Metric: TypeAlias = Counter | Gauge | Histogram

LABELS: Mapping[str, tuple[str, ...]] = {
    "headrace_events_total": ("verdict",),
    "headrace_loaded_messages_total": ("outcome",),
    "headrace_http_requests_total": ("route", "status"),
    "headrace_ingest_events_total": ("source", "status"),
    "headrace_segment_members": ("segment",),
    "headrace_segment_stale": ("segment",),
    "headrace_quality_failed_claims": ("suite",),
    "headrace_segment_held": ("segment",),
    "headrace_batch_seconds": ("step",),
    "headrace_http_seconds": ("route",),
}

# From a quick answer of the API to a batch that is far too long.
BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The numbers of one process; a registry of its own, so that tests do not share any."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics: dict[str, Metric] = {}

    def count(self, name: CounterName, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        counter = self._of(Counter, name)
        assert isinstance(counter, Counter)
        (counter.labels(**labels) if labels else counter).inc(amount)

    def set(self, name: GaugeName, value: float, **labels: str) -> None:
        """Say what a gauge shows now."""
        gauge = self._of(Gauge, name)
        assert isinstance(gauge, Gauge)
        (gauge.labels(**labels) if labels else gauge).set(value)

    def forget(self, name: GaugeName) -> None:
        """Show a gauge no more, under any label, until it is set again."""
        metric = self._metrics.pop(name, None)
        if metric is not None:
            self._registry.unregister(metric)

    def observe(self, name: HistogramName, seconds: float, **labels: str) -> None:
        """Add one duration."""
        histogram = self._of(Histogram, name)
        assert isinstance(histogram, Histogram)
        (histogram.labels(**labels) if labels else histogram).observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def serve(self, port: int, host: str = "127.0.0.1") -> None:
        """Answer Prometheus from a thread of this process."""
        start_http_server(port, host, self._registry)

    def _of(self, kind: type[Counter] | type[Gauge] | type[Histogram], name: str) -> Metric:
        metric = self._metrics.get(name)
        if metric is None:
            labels = LABELS.get(name, ())
            if kind is Histogram:
                metric = Histogram(name, name, labels, registry=self._registry, buckets=BUCKETS)
            else:
                metric = kind(name, name, labels, registry=self._registry)
            self._metrics[name] = metric
        return metric
