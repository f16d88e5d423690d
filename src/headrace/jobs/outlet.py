"""How the streaming job's messages reach Kafka: from Spark's tasks, and from beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

from headrace.kafka.client import Producer
from headrace.kafka.confluent import ConfluentProducer
from headrace.kafka.kafka_python import KafkaPythonProducer
from headrace.messages.accepted import AcceptedEvent, encode_accepted
from headrace.messages.headers import (
    TYPE_EVENT,
    TYPE_MARKER,
    TYPE_MEMBERSHIPS,
    TYPE_SEGMENTS,
    DeadLetter,
    cloud_event,
)
from headrace.messages.segments import SegmentMember, encode_segment, segment_key


@lru_cache(maxsize=1)
def _producer(bootstrap: str) -> Producer:
    # One per worker process, for all its tasks: connecting takes longer than a small batch.
    return ConfluentProducer(bootstrap)


@dataclass(frozen=True, slots=True)
class Memberships:
    """Opens, in a Spark task, the way that changes go out."""

    bootstrap: str
    memberships: str
    segments: str

    def __call__(self) -> MembershipSender:
        return MembershipSender(_producer(self.bootstrap), self.memberships, self.segments)


@dataclass(frozen=True, slots=True)
class MembershipSender:
    """Sends what changed."""

    producer: Producer
    memberships: str
    segments: str

    def changes(self, user: str, n: int, text: str) -> None:
        """One user's changes of batch ``n``."""
        self.producer.send(
            self.memberships,
            key=user.encode(),
            value=text.encode(),
            headers=cloud_event(TYPE_MEMBERSHIPS, f"{n}:{user}"),
        )

    def segment(self, member: SegmentMember, identity: str) -> None:
        """The latest of one user and segment."""
        self.producer.send(
            self.segments,
            key=member.key.encode(),
            value=encode_segment(member),
            headers=cloud_event(TYPE_SEGMENTS, identity),
        )

    def no_segment(self, segment: str, user: str) -> None:
        """Nothing more of one user and segment."""
        self.producer.send(self.segments, key=segment_key(segment, user).encode(), value=None)

    def flush(self) -> None:
        """Wait for the broker."""
        self.producer.flush()


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


@dataclass(frozen=True, slots=True)
class Accepted:
    """Sends accepted events on from a Spark task."""

    bootstrap: str
    topic: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> int:
        """Send each row (the fields of `AcceptedEvent`), wait for the broker, say how many."""
        producer, sent = _producer(self.bootstrap), 0
        for batch in batches:
            for row in batch.to_pylist():
                event = AcceptedEvent(**row)
                producer.send(
                    self.topic,
                    key=event.user_id.encode(),
                    value=encode_accepted(event),
                    headers=cloud_event(TYPE_EVENT, event.identity),
                )
            sent += len(batch)
        producer.flush()
        return sent


@dataclass(frozen=True, slots=True)
class Markers:
    """Puts a marker at the end of every partition of memberships, from beside the tasks."""

    producer: Producer
    topic: str
    partitions: int

    def __call__(self, text: str, name: str) -> None:
        """Send ``text`` to each partition, under ids that begin with ``name``; await the broker."""
        for partition in range(self.partitions):
            self.producer.send(
                self.topic,
                key=b"",
                value=text.encode(),
                headers=cloud_event(TYPE_MARKER, f"{name}:{partition}"),
                partition=partition,
            )
        self.producer.flush()
