"""Playing the shop: its history at once, then live traffic; what was sent is kept for the proof."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import orjson
import structlog

from headrace.clock import Clock, system_clock
from headrace.errors import OperatorError
from headrace.jobs.shop import Kind, Message, Shop
from headrace.kafka.client import Producer
from headrace.kafka.confluent import ConfluentProducer
from headrace.messages.topics import EVENTS, in_namespace
from headrace.settings import Settings

log = structlog.get_logger()

TICK_SECONDS = 0.05
# After a stall at most so much is caught up; the rest of the wanted traffic never happens.
CATCH_UP_SECONDS = 2.0


@dataclass(slots=True)
class Journal:
    """What was sent: the events as JSON lines in ``<folder>/shop.jsonl``, and all of it counted.

    The lines are what `headrace evaluate` reads: with ``--at`` they give the same memberships.
    Repeats and garbage are counted only; counts outlive the process.
    """

    folder: Path
    counts: Counter[Kind] = field(default_factory=Counter)
    _file: BinaryIO | None = None

    @property
    def lines(self) -> Path:
        """The file of events."""
        return self.folder / "shop.jsonl"

    @property
    def total(self) -> int:
        """Messages of all kinds."""
        return self.counts.total()

    def __enter__(self) -> Self:
        self._file = self.lines.open("ab")
        if self._counts.exists():
            self.counts = Counter(orjson.loads(self._counts.read_bytes()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._counts.write_bytes(orjson.dumps(dict(self.counts)))

    def note(self, message: Message) -> None:
        """Remember a message that is about to be sent."""
        self.counts[message.kind] += 1
        if message.kind == "event" and self._file is not None:
            self._file.write(message.value + b"\n")

    def flush(self) -> None:
        """Let readers of the file see everything noted so far."""
        if self._file is not None:
            self._file.flush()

    @property
    def _counts(self) -> Path:
        return self.folder / "shop.counts.json"


@dataclass(slots=True)
class Performance:
    """The shop on a stage of its own: a thread that sends until it is stopped."""

    shop: Shop
    producer: Producer
    topic: str
    journal: Journal
    clock: Clock
    history: int
    rate: int
    opened: threading.Event = field(default_factory=threading.Event)
    failure: OperatorError | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; ``opened`` is set once the history is on the broker and live traffic begins."""
        self._thread = threading.Thread(target=self._run, name="shop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the message in hand; on return everything noted is on the broker."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            for message in self.shop.history(self.history) if self.history else ():
                if self._stop.is_set():
                    break
                self._send(message)
            self.producer.flush()
            self.journal.flush()
            self.opened.set()
            self._live()
            self.producer.flush()
            self.journal.flush()
        except OperatorError as error:
            self.failure = error
            self.opened.set()

    def _live(self) -> None:
        started, sent = time.monotonic(), 0.0
        while not self._stop.wait(TICK_SECONDS):
            wanted = (time.monotonic() - started) * self.rate
            sent = max(sent, wanted - CATCH_UP_SECONDS * self.rate)
            count = int(wanted - sent)
            if count:
                for message in self.shop.live(count, self.clock()):
                    self._send(message)
                sent += count

    def _send(self, message: Message) -> None:
        self.journal.note(message)
        self.producer.send(self.topic, value=message.value, key=message.key)


def run(
    settings: Settings, *, seconds: float | None, seed: int, users: int, events: int, rate: int
) -> None:
    """Play on the configured broker until SIGTERM, SIGINT or the end of ``seconds``."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings.home.mkdir(parents=True, exist_ok=True)
    with ConfluentProducer(settings.kafka_bootstrap) as producer, Journal(settings.home) as journal:
        performance = Performance(
            shop=Shop(seed=seed, users=users, start=system_clock()),
            producer=producer,
            topic=in_namespace(settings.namespace, EVENTS),
            journal=journal,
            clock=system_clock,
            history=events,
            rate=rate,
        )
        performance.start()
        stop.wait(seconds)
        performance.stop()
        log.info("played", messages=journal.total, counts=dict(journal.counts))
