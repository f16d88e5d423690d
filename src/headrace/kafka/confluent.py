"""confluent-kafka: producing and consuming where the rate matters."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headrace.kafka.client import (
    PATIENCE_SECONDS,
    Bounds,
    Header,
    KafkaDown,
    NoTopic,
    Offsets,
    Record,
)

SILENT = logging.getLogger("headrace.kafka.librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False

COMMON: dict[str, Any] = {
    # librdkafka writes every lost connection to stderr; we raise what matters.
    "log_level": 0,
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 2_000,
    "socket.connection.setup.timeout.ms": 8_000,
}
ANY_PARTITION = -1
BROKER_AWAY = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._MSG_TIMED_OUT,
    }
)


class _Client:
    """Remembers that the broker went away, so that the next call can say so."""

    def __init__(self, bootstrap: str) -> None:
        if not bootstrap:
            raise KafkaDown(bootstrap)
        self._bootstrap = bootstrap
        self._away: KafkaError | None = None

    def _configuration(self, **more: Any) -> dict[str, Any]:
        return {
            **COMMON,
            "bootstrap.servers": self._bootstrap,
            "error_cb": self._heard,
            "logger": SILENT,
            **more,
        }

    def _heard(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE):
            self._away = error

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise KafkaDown(self._bootstrap, _words(error.args[0])) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the broker."""
        raise NotImplementedError


def _words(error: object) -> str:
    return error.str() if isinstance(error, KafkaError) else str(error)


class ConfluentProducer(_Client):
    """Sends at high rates: lz4, idempotent, acknowledged by all replicas."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap)
        self._failure: KafkaError | None = None
        self._client = confluent_kafka.Producer(
            self._configuration(
                **{
                    "acks": "all",
                    "enable.idempotence": True,
                    "compression.type": "lz4",
                    "linger.ms": 20,
                    "batch.num.messages": 10_000,
                    "queue.buffering.max.messages": 200_000,
                    "message.max.bytes": 4 << 20,
                    "delivery.timeout.ms": int(PATIENCE_SECONDS * 1_000),
                    # The hash that Java clients use, so that a user has one partition for all.
                    "partitioner": "murmur2_random",
                }
            )
        )
        with self._asking():
            self._client.list_topics(timeout=PATIENCE_SECONDS)

    def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        partition: int | None = None,
    ) -> None:
        """Queue a message; waits when the queue is full."""
        place = ANY_PARTITION if partition is None else partition
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._client.produce(
                    topic, value, key, place, self._delivered, headers=list(headers)
                )
            except BufferError as error:
                if time.monotonic() > deadline:
                    raise KafkaDown(self._bootstrap, error) from error
                self._client.poll(0.1)
                continue
            except KafkaException as error:
                raise KafkaDown(self._bootstrap, _words(error.args[0])) from error
            self._client.poll(0)
            return

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._failure = error

    def flush(self) -> None:
        """Wait until every queued message is on the broker."""
        left = self._client.flush(PATIENCE_SECONDS + 1)
        failure, self._failure = self._failure, None
        if failure is not None or left:
            raise KafkaDown(self._bootstrap, _words(failure) if failure else f"{left} unsent")

    def close(self) -> None:
        """Let go of the broker, waiting briefly for what is still queued."""
        self._client.flush(2)


class ConfluentConsumer(_Client):
    """Reads one topic at high rates."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        super().__init__(bootstrap)
        self._topic = topic
        self._places: list[TopicPartition] = []
        self._client = confluent_kafka.Consumer(
            self._configuration(
                **{
                    "group.id": group,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 50,
                    # A paused reader must not hold gigabytes of what it has not asked for yet.
                    "queued.max.messages.kbytes": 32_768,
                    "enable.partition.eof": False,
                }
            )
        )
        with self._asking():
            self._client.list_topics(timeout=PATIENCE_SECONDS)

    def bounds(self) -> dict[int, Bounds]:
        """What each partition of the topic holds."""
        with self._asking():
            found = self._client.list_topics(self._topic, timeout=PATIENCE_SECONDS)
            described = found.topics[self._topic]
            if described.error is not None or not described.partitions:
                raise NoTopic(self._topic)
            return {
                part: Bounds(
                    *self._client.get_watermark_offsets(
                        TopicPartition(self._topic, part), timeout=PATIENCE_SECONDS
                    )
                )
                for part in sorted(described.partitions)
            }

    def start_at(self, offsets: Offsets) -> None:
        """Read on from exactly these offsets."""
        self._places = [TopicPartition(self._topic, *item) for item in sorted(offsets.items())]
        with self._asking():
            self._client.assign(self._places)

    def poll(self, limit: int, seconds: float) -> list[Record]:
        """Up to ``limit`` messages."""
        with self._asking():
            rows = self._client.consume(limit, seconds)
        records = []
        for row in rows:
            error = row.error()
            if error is None:
                records.append(_record(row))
            elif not error.retriable() and error.code() not in BROKER_AWAY:
                raise KafkaDown(self._bootstrap, _words(error))
        if records:
            self._away = None
        elif self._away is not None:
            away, self._away = self._away, None
            raise KafkaDown(self._bootstrap, _words(away))
        return records

    def pause(self, partitions: Collection[int]) -> None:
        """Give out nothing of these partitions for now."""
        with self._asking():
            self._client.pause([TopicPartition(self._topic, part) for part in partitions])

    def resume(self, partitions: Collection[int]) -> None:
        """Go on with these partitions."""
        with self._asking():
            self._client.resume([TopicPartition(self._topic, part) for part in partitions])

    def commit(self, offsets: Offsets) -> None:
        """Note how far we are."""
        places = [TopicPartition(self._topic, *item) for item in offsets.items()]
        with self._asking():
            self._client.commit(offsets=places, asynchronous=False)

    def committed(self) -> dict[int, int]:
        """What was last noted."""
        places = [TopicPartition(self._topic, part) for part in self.bounds()]
        with self._asking():
            found = self._client.committed(places, timeout=PATIENCE_SECONDS)
        return {place.partition: place.offset for place in found if place.offset >= 0}

    def close(self) -> None:
        """Let go of the broker."""
        self._client.close()


def _record(row: Any) -> Record:
    return Record(
        row.partition(),
        row.offset(),
        row.timestamp()[1],
        row.key(),
        row.value(),
        tuple(row.headers() or ()),
    )
