"""Sends of which each is answered: on the broker, or not.

confluent-kafka calls back from the thread that polls it; here that is a thread of the producer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, KafkaException

from headrace.kafka.client import Header
from headrace.kafka.confluent import COMMON, SILENT

# What is not on the broker by then is somebody else's to keep: clients wait for the answer.
DELIVERY_SECONDS = 4.0
# As many as wait for their answers at most, so that a slow broker does not fill the memory.
MOST_WAITING = 20_000
MOST_WAITING_KIB = 32 * 1_024
TELL_SECONDS = 10.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Message:
    """What one message carries; without a ``topic`` it goes to the producer's own."""

    key: bytes
    value: bytes
    headers: tuple[Header, ...] = ()
    topic: str = ""


# The places, among those sent together, of the messages that are not known to be on the broker.
Unsent: TypeAlias = tuple[int, ...]


class Busy(Exception):
    """As many messages wait for their answers as may wait."""


class Acknowledged(Protocol):
    """Sends messages together, and says once which of them the broker has not taken."""

    def send(self, messages: Sequence[Message], answered: Callable[[Unsent], None]) -> None:
        """Queue them in order; ``answered`` is called once, in another thread. Raises Busy."""

    def close(self) -> None:
        """Let go of the broker; what still waits is answered as unsent."""


@dataclass(slots=True)
class _Together:
    """The answers that are still to come for messages sent together."""

    answered: Callable[[Unsent], None]
    waiting: int
    unsent: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, places: Sequence[int], *, is_sent: bool) -> None:
        """From the polling thread, and from the sending one for what could not be queued."""
        with self.lock:
            if not is_sent:
                self.unsent.extend(places)
            self.waiting -= len(places)
            is_last = self.waiting == 0
        if is_last:
            self.answered(tuple(sorted(self.unsent)))


class AcknowledgedProducer:
    """An idempotent producer to ``topic`` and others; it opens its connection in its own time."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._count = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._bootstrap = bootstrap
        self._is_broken = False
        self._told = -math.inf  # when a refusal was logged last
        self._client = self._opened()
        self._thread = threading.Thread(target=self._poll, name="acks", daemon=True)
        self._thread.start()

    def _opened(self) -> confluent_kafka.Producer:
        return confluent_kafka.Producer(
            {
                **COMMON,
                "bootstrap.servers": self._bootstrap,
                "logger": SILENT,
                "error_cb": self._hear_of_client,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 2,
                "queue.buffering.max.messages": MOST_WAITING,
                "queue.buffering.max.kbytes": MOST_WAITING_KIB,
                "message.max.bytes": 1_000_000,
                "delivery.timeout.ms": int(DELIVERY_SECONDS * 1_000),
                # The hash that Java clients use, so that a user has one partition for all.
                "partitioner": "murmur2_random",
            }
        )

    def send(self, messages: Sequence[Message], answered: Callable[[Unsent], None]) -> None:
        """Queue ``messages`` in order; ``answered`` hears, from another thread, of all at once."""
        if not messages:
            answered(())
            return
        with self._lock:
            if self._count + len(messages) > MOST_WAITING:
                raise Busy
            self._count += len(messages)

        def heard(unsent: Unsent) -> None:
            with self._lock:
                self._count -= len(messages)
            answered(unsent)

        together = _Together(heard, len(messages))
        for place, message in enumerate(messages):
            try:
                self._client.produce(
                    message.topic or self._topic,
                    message.value,
                    message.key,
                    on_delivery=partial(self._hear, together, place),
                    headers=list(message.headers),
                )
            except (BufferError, KafkaException) as error:
                self._tell(error.args[0])
                # Those behind it must not overtake it: none of the rest is sent either.
                together.hear(range(place, len(messages)), is_sent=False)
                return

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._client.poll(0.1)
            if self._is_broken:
                # An idempotent client that has lost its place takes nothing any more.
                broken, self._client, self._is_broken = self._client, self._opened(), False
                broken.purge()
                broken.flush(1)

    def close(self) -> None:
        """Wait briefly for what still waits, then let go."""
        self._client.flush(DELIVERY_SECONDS + 1)
        self._closed.set()
        self._thread.join(1)

    def _hear(self, together: _Together, place: int, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._tell(error)
        together.hear((place,), is_sent=error is None)

    def _hear_of_client(self, error: KafkaError) -> None:
        # Of each message it says itself what became of it; this is about the client.
        self._is_broken = self._is_broken or error.fatal()

    def _tell(self, reason: object) -> None:
        """Log why a message was not taken, now and then."""
        now = time.monotonic()
        if now - self._told > TELL_SECONDS:
            self._told = now
            log.warning("Kafka does not take an event", reason=str(reason))
