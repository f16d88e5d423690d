"""kafka-python: topics, and producing and consuming at low rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError
from kafka.structs import OffsetAndMetadata

from headrace.errors import OperatorError
from headrace.kafka.client import (
    PATIENCE_SECONDS,
    Bounds,
    Header,
    KafkaDown,
    Mismatch,
    NoTopic,
    Offsets,
    Record,
    TopicReport,
)
from headrace.messages.topics import TOPICS, Topic

Client = TypeVar("Client")
PATIENCE_MS = int(PATIENCE_SECONDS * 1_000)
# As large as the embedded broker takes: an oversized event goes out again as a dead letter.
GREATEST_MESSAGE = 4 << 20


def _connect(build: Callable[..., Client], bootstrap: str, **options: Any) -> Client:
    if not bootstrap:
        raise KafkaDown(bootstrap)
    try:
        return build(
            bootstrap_servers=bootstrap.split(","),
            bootstrap_timeout_ms=PATIENCE_MS,
            request_timeout_ms=PATIENCE_MS + 2_000,
            **options,
        )
    except (KafkaError, ValueError, OSError) as error:
        raise KafkaDown(bootstrap, error) from error


class _Closing:
    _client: Any

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KafkaPythonProducer(_Closing):
    """Sends at low rates: notices, heartbeats, dead letters."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._failure: BaseException | None = None
        self._client = _connect(
            KafkaProducer,
            bootstrap,
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=5,
            max_block_ms=PATIENCE_MS,
            delivery_timeout_ms=PATIENCE_MS + 3_000,
            max_request_size=GREATEST_MESSAGE + 65_536,
        )

    def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        partition: int | None = None,
    ) -> None:
        """Queue a message."""
        try:
            future = self._client.send(
                topic, value=value, key=key, headers=list(headers), partition=partition
            )
        except KafkaError as error:
            raise KafkaDown(self._bootstrap, error) from error
        future.add_errback(self._failed)

    def _failed(self, failure: BaseException) -> None:
        self._failure = failure

    def flush(self) -> None:
        """Wait until every queued message is on the broker."""
        try:
            self._client.flush(timeout=PATIENCE_SECONDS)
        except KafkaError as error:
            raise KafkaDown(self._bootstrap, error) from error
        failure, self._failure = self._failure, None
        if failure is not None:
            raise KafkaDown(self._bootstrap, failure) from failure

    def close(self) -> None:
        """Let go of the broker, waiting briefly for what is still queued."""
        self._client.close(timeout=2)


class KafkaPythonConsumer(_Closing):
    """Reads one topic at low rates."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._client = _connect(
            KafkaConsumer,
            bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=2_000,
            max_partition_fetch_bytes=GREATEST_MESSAGE + 65_536,
        )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except (KafkaError, OSError) as error:
            raise KafkaDown(self._bootstrap, error) from error

    def _places(self) -> list[TopicPartition]:
        with self._asking():
            partitions = self._client.partitions_for_topic(self._topic)
        if not partitions:
            raise NoTopic(self._topic)
        return [TopicPartition(self._topic, partition) for partition in sorted(partitions)]

    def bounds(self) -> dict[int, Bounds]:
        """What each partition of the topic holds."""
        places = self._places()
        with self._asking():
            starts = self._client.beginning_offsets(places)
            ends = self._client.end_offsets(places)
        return {place.partition: Bounds(starts[place], ends[place]) for place in places}

    def start_at(self, offsets: Offsets) -> None:
        """Read on from exactly these offsets."""
        places = {TopicPartition(self._topic, part): offset for part, offset in offsets.items()}
        with self._asking():
            self._client.assign(list(places))
            for place, offset in places.items():
                self._client.seek(place, offset)

    def poll(self, limit: int, seconds: float) -> list[Record]:
        """Up to ``limit`` messages."""
        with self._asking():
            found: Mapping[TopicPartition, Iterable[Any]] = self._client.poll(
                timeout_ms=int(seconds * 1_000), max_records=limit
            )
        return [
            Record(row.partition, row.offset, row.timestamp, row.key, row.value, tuple(row.headers))
            for rows in found.values()
            for row in rows
        ]

    def pause(self, partitions: Collection[int]) -> None:
        """Give out nothing of these partitions for now."""
        self._client.pause(*(TopicPartition(self._topic, part) for part in partitions))

    def resume(self, partitions: Collection[int]) -> None:
        """Go on with these partitions."""
        self._client.resume(*(TopicPartition(self._topic, part) for part in partitions))

    def commit(self, offsets: Offsets) -> None:
        """Note how far we are."""
        with self._asking():
            self._client.commit(
                {
                    TopicPartition(self._topic, part): OffsetAndMetadata(offset, "", -1)
                    for part, offset in offsets.items()
                },
                timeout_ms=PATIENCE_MS,
            )

    def committed(self) -> dict[int, int]:
        """What was last noted."""
        places = self._places()
        with self._asking():
            offsets = {
                place.partition: self._client.committed(place, timeout_ms=PATIENCE_MS)
                for place in places
            }
        return {part: offset for part, offset in offsets.items() if offset is not None}

    def close(self) -> None:
        """Let go of the broker."""
        self._client.close(autocommit=False, timeout_ms=2_000)


class KafkaPythonAdmin(_Closing):
    """Creates topics and says where they stand."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._client = _connect(KafkaAdminClient, bootstrap)

    def create_topics(self, namespace: str = "", topics: Sequence[Topic] = TOPICS) -> TopicReport:
        """Create the topics that are missing; report those that are not as the table says.

        An existing topic is never altered: fewer partitions cannot be had, and more of them would
        move users from one partition to another while their messages are under way.
        """
        wanted = {row.named(namespace): row for row in topics}
        try:
            there = wanted.keys() & set(self._client.list_topics())
            created = [name for name in wanted if name not in there and self._create(name, wanted)]
            mismatches = [
                mismatch for name in sorted(there) for mismatch in self._compare(name, wanted[name])
            ]
        except (KafkaError, OSError) as error:
            raise KafkaDown(self._bootstrap, error) from error
        return TopicReport(
            created=tuple(created),
            existing=tuple(name for name in wanted if name not in created),
            mismatches=tuple(mismatches),
        )

    def _create(self, name: str, wanted: Mapping[str, Topic]) -> bool:
        try:
            self._client.create_topics(
                {name: {"num_partitions": wanted[name].partitions, "configs": wanted[name].config}},
                timeout_ms=PATIENCE_MS,
                wait_for_metadata=True,
            )
        except TopicAlreadyExistsError:  # another process was quicker
            return False
        return True

    def _compare(self, name: str, row: Topic) -> Iterator[Mismatch]:
        partitions = len(self._client.describe_topics([name])[0]["partitions"])
        if partitions != row.partitions:
            yield Mismatch(name, "partitions", str(row.partitions), str(partitions))
        resource = ConfigResource("TOPIC", name, configs=dict.fromkeys(row.config))
        found = self._client.describe_configs([resource], config_filter="all")["topic"][name]
        for setting, value in row.config.items():
            actual = found.get(setting, {}).get("value")
            if actual != value:
                yield Mismatch(name, setting, value, str(actual))

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return len(self.end_offsets(topic))

    def end_offsets(self, topic: str) -> dict[int, int]:
        """The next offset of each partition."""
        with KafkaPythonConsumer(self._bootstrap, topic, "headrace-admin") as consumer:
            return {part: bounds.end for part, bounds in consumer.bounds().items()}

    def delete_topics(self, names: Sequence[str]) -> None:
        """Delete topics and wait until they are gone."""
        try:
            for name in names:
                try:
                    self._client.delete_topics([name], timeout_ms=PATIENCE_MS)
                except UnknownTopicOrPartitionError:
                    continue
            deadline = time.monotonic() + PATIENCE_SECONDS
            while set(names) & set(self._client.list_topics()):
                if time.monotonic() > deadline:
                    raise OperatorError(f"Kafka does not let go of {', '.join(names)}")
                time.sleep(0.05)
        except KafkaError as error:
            raise KafkaDown(self._bootstrap, error) from error
