"""One contract, both clients, a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import pytest

from headrace.embedded import Servers
from headrace.errors import OperatorError
from headrace.kafka.client import Bounds, Consumer, Producer, Record
from headrace.kafka.confluent import ConfluentConsumer, ConfluentProducer
from headrace.kafka.kafka_python import (
    KafkaPythonAdmin,
    KafkaPythonConsumer,
    KafkaPythonProducer,
)
from headrace.messages.topics import TOPICS, Topic

MakeProducer: TypeAlias = Callable[[str], Producer]
MakeConsumer: TypeAlias = Callable[[str, str, str], Consumer]

producers = pytest.mark.parametrize(
    "make_producer",
    [
        pytest.param(KafkaPythonProducer, id="from kafka-python"),
        pytest.param(ConfluentProducer, id="from confluent"),
    ],
)
consumers = pytest.mark.parametrize(
    "make_consumer",
    [
        pytest.param(KafkaPythonConsumer, id="to kafka-python"),
        pytest.param(ConfluentConsumer, id="to confluent"),
    ],
)
NOWHERE = "127.0.0.1:9"


def table(partitions: int = 2, retention_ms: int = 60_000) -> tuple[Topic, ...]:
    return (
        Topic(
            name="numbers",
            partitions=partitions,
            retention_ms=retention_ms,
            compacted=False,
            key="any",
            description="For a test.",
        ),
    )


@pytest.fixture(scope="module")
def admin(servers: Servers) -> Iterator[KafkaPythonAdmin]:
    with KafkaPythonAdmin(servers.kafka_bootstrap) as made:
        yield made


@pytest.fixture
def topic(admin: KafkaPythonAdmin, namespace: str) -> Iterator[str]:
    (name,) = admin.create_topics(namespace, table()).created
    yield name
    admin.delete_topics([name])


def read(consumer: Consumer, count: int, seconds: float = 10) -> list[Record]:
    rows: list[Record] = []
    deadline = time.monotonic() + seconds
    while len(rows) < count and time.monotonic() < deadline:
        rows += consumer.poll(100, 0.2)
    return rows


@producers
@consumers
def test_what_is_sent_is_read(
    servers: Servers, topic: str, make_producer: MakeProducer, make_consumer: MakeConsumer
) -> None:
    with make_producer(servers.kafka_bootstrap) as producer:
        producer.send(topic, key=b"k", value=b"v", headers=[("h", b"\xff")], partition=1)
        producer.send(topic, key=b"gone", value=None, partition=1)
        producer.send(topic, key=b"", value=b"\x00" * 1_000_000, partition=0)
        producer.flush()
    with make_consumer(servers.kafka_bootstrap, topic, "g") as consumer:
        assert consumer.bounds() == {0: Bounds(0, 1), 1: Bounds(0, 2)}
        consumer.start_at({0: 0, 1: 0})
        rows = sorted(read(consumer, 3), key=lambda row: (row.partition, row.offset))
    assert [(row.partition, row.offset, row.key) for row in rows] == [
        (0, 0, b""),
        (1, 0, b"k"),
        (1, 1, b"gone"),
    ]
    assert rows[1].headers == (("h", b"\xff"),)
    assert rows[2].value is None and rows[2].headers == ()
    assert len(rows[0].value or b"") == 1_000_000
    assert abs(rows[1].timestamp - time.time() * 1_000) < 60_000


def test_both_send_a_key_to_one_partition(servers: Servers, topic: str) -> None:
    keys = [f"user-{number}".encode() for number in range(50)]
    for make_producer in (KafkaPythonProducer, ConfluentProducer):
        with make_producer(servers.kafka_bootstrap) as producer:
            for key in keys:
                producer.send(topic, key=key, value=b"")
            producer.flush()
    with ConfluentConsumer(servers.kafka_bootstrap, topic, "g") as consumer:
        consumer.start_at({0: 0, 1: 0})
        places = {(row.key, row.partition) for row in read(consumer, 100)}
    assert len(places) == 50


@consumers
def test_reading_starts_where_it_is_told_and_stops_at_the_limit(
    servers: Servers, topic: str, make_consumer: MakeConsumer
) -> None:
    with ConfluentProducer(servers.kafka_bootstrap) as producer:
        for number in range(10):
            producer.send(topic, value=str(number).encode(), partition=0)
        producer.flush()
    with make_consumer(servers.kafka_bootstrap, topic, "g") as consumer:
        consumer.start_at({0: 4})
        first = consumer.poll(3, 5)
        while len(first) < 3:
            first += consumer.poll(3 - len(first), 5)
        assert [row.offset for row in first] == [4, 5, 6]
        consumer.start_at({0: 8, 1: 0})
        assert [row.offset for row in read(consumer, 2)] == [8, 9]


@consumers
def test_a_paused_partition_waits_and_goes_on(
    servers: Servers, topic: str, make_consumer: MakeConsumer
) -> None:
    with ConfluentProducer(servers.kafka_bootstrap) as producer:
        for partition in (0, 1, 0, 1):
            producer.send(topic, value=b"", partition=partition)
        producer.flush()
    with make_consumer(servers.kafka_bootstrap, topic, "g") as consumer:
        consumer.start_at({0: 0, 1: 0})
        consumer.pause([1])
        assert [row.partition for row in read(consumer, 4, seconds=2)] == [0, 0]
        consumer.resume([1])
        assert [(row.partition, row.offset) for row in read(consumer, 2)] == [(1, 0), (1, 1)]


@consumers
def test_commits_are_remembered_by_the_group(
    servers: Servers, topic: str, make_consumer: MakeConsumer
) -> None:
    with make_consumer(servers.kafka_bootstrap, topic, f"group-{topic}") as consumer:
        assert consumer.committed() == {}
        consumer.start_at({0: 0, 1: 0})
        consumer.commit({0: 0, 1: 0})
        assert consumer.committed() == {0: 0, 1: 0}
    with make_consumer(servers.kafka_bootstrap, topic, f"group-{topic}") as consumer:
        assert consumer.committed() == {0: 0, 1: 0}


def test_a_missing_topic_is_an_error(servers: Servers, namespace: str) -> None:
    def send(make_producer: MakeProducer) -> OperatorError:
        with make_producer(servers.kafka_bootstrap) as producer:
            try:
                producer.send(f"{namespace}absent", value=b"")
                producer.flush()
            except OperatorError as error:
                return error
        raise AssertionError("nothing was raised")

    # Both wait for the topic to appear: let them do so at the same time.
    with ThreadPoolExecutor() as pool:
        assert len(list(pool.map(send, (KafkaPythonProducer, ConfluentProducer)))) == 2


@consumers
def test_bounds_of_a_missing_topic_name_it(
    servers: Servers, namespace: str, make_consumer: MakeConsumer
) -> None:
    with (
        make_consumer(servers.kafka_bootstrap, f"{namespace}absent", "g") as consumer,
        pytest.raises(OperatorError, match="absent"),
    ):
        consumer.bounds()


def test_a_broker_that_is_down_is_named_in_time(capfd: pytest.CaptureFixture[str]) -> None:
    connects: tuple[Callable[[], object], ...] = (
        lambda: KafkaPythonAdmin(NOWHERE),
        lambda: KafkaPythonProducer(NOWHERE),
        lambda: ConfluentProducer(NOWHERE),
        lambda: KafkaPythonConsumer(NOWHERE, "t", "g"),
        lambda: ConfluentConsumer(NOWHERE, "t", "g"),
    )

    def connect(build: Callable[[], object]) -> str:
        started = time.monotonic()
        with pytest.raises(OperatorError) as caught:
            build()
        assert time.monotonic() - started < 11
        return str(caught.value)

    # Each waits for seconds: let them do so at the same time.
    with ThreadPoolExecutor() as pool:
        for sentence in pool.map(connect, connects):
            assert NOWHERE in sentence and "HEADRACE_KAFKA_BOOTSTRAP" in sentence
    assert capfd.readouterr().err == ""


def test_topics_are_created_once_and_differences_are_told(
    admin: KafkaPythonAdmin, namespace: str
) -> None:
    names = tuple(row.named(namespace) for row in TOPICS)
    first = admin.create_topics(namespace)
    again = admin.create_topics(namespace)
    assert first.created == names and first.mismatches == ()
    assert again.created == () and again.existing == names and again.mismatches == ()
    assert admin.partitions(names[0]) == TOPICS[0].partitions
    admin.delete_topics(names)

    admin.create_topics(namespace, table())
    changed = admin.create_topics(namespace, table(partitions=3, retention_ms=5))
    assert [str(row) for row in changed.mismatches] == [
        f"topic {namespace}numbers: partitions is 2, should be 3",
        f"topic {namespace}numbers: retention.ms is 60000, should be 5",
    ]
    admin.delete_topics([f"{namespace}numbers"])
