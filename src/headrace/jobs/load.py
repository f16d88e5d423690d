"""The loader as a process: settings in, a loop that runs until it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from headrace.cache.model import LoaderStatus
from headrace.clock import SECOND, Instant
from headrace.jobs.cache import open_writer
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonProducer
from headrace.loader.loader import Loader
from headrace.messages.headers import DeadLetter
from headrace.messages.topics import DEAD, MEMBERSHIPS, in_namespace
from headrace.metrics import Metrics
from headrace.settings import Settings

log = structlog.get_logger()


@dataclass(slots=True)
class Ledger:
    """What happens, as metrics; what changes, as log lines."""

    metrics: Metrics = field(default_factory=Metrics)
    state: str = ""
    as_of: Instant | None = None

    def applied(self, messages: int, skipped: int, delay: int | None) -> None:
        """Count a batch, and time it from the newest message's now."""
        self.metrics.count("headrace_loaded_messages_total", messages, outcome="applied")
        self.metrics.count("headrace_loaded_messages_total", skipped, outcome="stale")
        if delay is not None:
            self.metrics.observe("headrace_load_delay_seconds", max(0, delay) / SECOND)

    def rejected(self, letter: DeadLetter) -> None:
        """Count and log a message nobody could use, without its content: that may be personal."""
        self.metrics.count("headrace_loaded_messages_total", outcome="broken")
        log.warning(
            "broken message",
            reason=letter.reason,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
        )

    def reported(self, status: LoaderStatus) -> None:
        """Set the gauges; log when the state changes. Without a server freshness only ages."""
        if status.lag is not None:
            self.metrics.set("headrace_loader_lag_messages", status.lag)
        self.as_of = status.as_of or self.as_of
        if self.as_of:
            self.metrics.set("headrace_freshness_seconds", max(0, status.at - self.as_of) / SECOND)
        if status.state != self.state:
            self.state = status.state
            log.info("loader", state=status.state, lag=status.lag, detail=status.detail)


@dataclass(frozen=True, slots=True)
class Graveyard:
    """Sends dead letters; they are rare, so each lot brings its own connection."""

    bootstrap: str
    topic: str

    def __call__(self, letters: Sequence[DeadLetter]) -> None:
        """Send them all and wait for the broker."""
        with KafkaPythonProducer(self.bootstrap) as producer:
            for letter in letters:
                producer.send(self.topic, value=letter.raw, headers=letter.headers)
            producer.flush()


def run(settings: Settings, *, metrics_port: int | None = None) -> None:
    """Load until SIGTERM or SIGINT; a message that is being applied is finished first."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    ledger = Ledger()
    if metrics_port is not None:
        ledger.metrics.serve(metrics_port)
    name = in_namespace(settings.namespace, MEMBERSHIPS)
    writer = open_writer(settings)
    loader = Loader(
        lambda: ConfluentConsumer(settings.kafka_bootstrap, name, f"{settings.namespace}headrace"),
        writer,
        topic=name,
        bury=Graveyard(settings.kafka_bootstrap, in_namespace(settings.namespace, DEAD)),
        witness=ledger,
    )
    loader.run(stopping)
    writer.close()
