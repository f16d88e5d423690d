"""The loader between a real Kafka and a real Redis, through what may happen to both."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient, TopicPartition

from headrace.cache.model import CacheDown, Incomplete, LoaderStatus
from headrace.cache.reads import CachedMemberships
from headrace.cache.rebuild import Row, rebuild
from headrace.cache.writer import Writer
from headrace.embedded import Servers
from headrace.embedded.ports import choose_port
from headrace.embedded.redis import redis_binary
from headrace.errors import OperatorError
from headrace.jobs.load import Graveyard
from headrace.kafka.confluent import ConfluentConsumer, ConfluentProducer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.loader.loader import BAD_STREAK, Loader
from headrace.messages.headers import DeadLetter, decode_dead_letter
from headrace.messages.memberships import heartbeat_marker
from headrace.messages.topics import DEAD, MEMBERSHIPS, Topic, in_namespace, topic
from loader.logs import World

PATIENCE = 20.0


class Ear:
    """Keeps what the loader tells."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.rejections: list[DeadLetter] = []

    def applied(self, messages: int, skipped: int, delay: int | None) -> None: ...

    def rejected(self, letter: DeadLetter) -> None:
        self.rejections.append(letter)

    def reported(self, status: LoaderStatus) -> None:
        if self.states[-1:] != [status.state]:
            self.states.append(status.state)


class Scene:
    """A topic, a world that writes to it, and readers."""

    def __init__(self, servers: Servers, namespace: str, redis_url: str) -> None:
        self.bootstrap = servers.kafka_bootstrap
        self.namespace = namespace
        self.redis_url = redis_url
        self.topic = in_namespace(namespace, MEMBERSHIPS)
        self.world = World()
        self.sent = [0, 0]
        self.ear = Ear()
        with KafkaPythonAdmin(self.bootstrap) as admin:
            admin.create_topics(namespace, (TWO_PARTITIONS, topic(DEAD)))

    def publish(self) -> None:
        """Send what the world has written since."""
        with ConfluentProducer(self.bootstrap) as producer:
            for partition, rows in enumerate(self.world.log.partitions):
                for value in rows[self.sent[partition] :]:
                    producer.send(self.topic, key=b"", value=value, partition=partition)
                self.sent[partition] = len(rows)
            producer.flush()

    def put_raw(self, *values: bytes) -> None:
        """Send anything to partition 0."""
        self.world.log.partitions[0].extend(values)
        self.publish()

    @contextmanager
    def loading(self) -> Iterator[list[BaseException]]:
        """A loader in a thread; the errors that ended it."""
        stopping = threading.Event()
        writer = Writer(self.redis_url, self.namespace)
        loader = Loader(
            lambda: ConfluentConsumer(self.bootstrap, self.topic, f"{self.namespace}g"),
            writer,
            topic=self.topic,
            bury=Graveyard(self.bootstrap, in_namespace(self.namespace, DEAD)),
            witness=self.ear,
        )
        errors: list[BaseException] = []

        def run() -> None:
            try:
                loader.run(stopping)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield errors
        finally:
            stopping.set()
            thread.join(PATIENCE)
            writer.close()
            assert not thread.is_alive()

    def members(self, segment: str) -> set[str]:
        """What a reader is told."""

        async def read() -> set[str]:
            cache = CachedMemberships(self.redis_url, self.namespace)
            try:
                users = sorted(self.world.known)
                found = await cache.users(users)
                return {
                    user
                    for user, state in zip(users, found.users, strict=True)
                    if state is not None and segment in {part.segment for part in state.memberships}
                }
            finally:
                await cache.close()

        return asyncio.run(read())

    def eventually(self, claim: Callable[[], bool]) -> None:
        """Wait until ``claim`` holds; a reader that gets no answer asks again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if claim():
                    return
            except (Incomplete, CacheDown):
                pass
            assert time.monotonic() < deadline, self.ear.states
            time.sleep(0.05)

    def is_drained(self) -> bool:
        """Has the loader applied everything that was sent?"""
        with redis.Redis.from_url(self.redis_url, decode_responses=True) as plain:
            g = plain.get(f"{self.namespace}hr:generation")
            offsets: Any = plain.hgetall(f"{self.namespace}hr:{g}:offsets")
        return {int(part): int(offset) for part, offset in offsets.items()} == dict(
            enumerate(self.sent)
        )

    def is_right(self) -> bool:
        """Do readers see the world as it is?"""
        return all(self.members(name) == users for name, users in self.world.members.items())


TWO_PARTITIONS = Topic(
    name=MEMBERSHIPS, partitions=2, retention_ms=-1, compacted=False, key="", description=""
)


@pytest.fixture
def scene(servers: Servers, namespace: str) -> Iterator[Scene]:
    # A database of its own: some of these stories empty it.
    url = servers.redis_url.removesuffix("/0") + "/9"
    with redis.Redis.from_url(url) as plain:
        plain.flushdb()
        yield Scene(servers, namespace, url)
        plain.flushdb()


def people(scene: Scene, count: int = 40) -> None:
    """Some users, half of them in a segment."""
    for number in range(count):
        scene.world.see(f"u{number}", 0)
    scene.world.hand_over("big", [(f"u{number}", number % 2 == 0) for number in range(count)], 0)
    scene.publish()


def test_from_kafka_to_readers(scene: Scene) -> None:
    people(scene)
    with scene.loading():
        scene.eventually(scene.is_right)
        scene.world.change([("u1", "big", True), ("u2", "big", False)], 1)
        scene.publish()
        scene.eventually(scene.is_right)
        scene.world.hand_over("big", [("u5", True)], 2)
        scene.publish()
        scene.eventually(scene.is_right)
        scene.eventually(scene.is_drained)
    with ConfluentConsumer(scene.bootstrap, scene.topic, f"{scene.namespace}g") as consumer:
        assert consumer.committed() == dict(enumerate(map(len, scene.world.log.partitions)))
    scene.world.change([("u1", "big", False)], 0)
    scene.publish()
    with scene.loading():
        scene.eventually(scene.is_right)


def test_freshness_follows_the_streams_heartbeats(scene: Scene) -> None:
    def as_of() -> int:
        async def read() -> int:
            cache = CachedMemberships(scene.redis_url, scene.namespace)
            try:
                return (await cache.users([])).as_of
            finally:
                await cache.close()

        return asyncio.run(read())

    with scene.loading():
        now = time.time() * 1_000
        scene.eventually(lambda: as_of() >= now)  # nothing was ever published: that is so as of now
        people(scene)
        scene.eventually(scene.is_right)
        # The stream's first batches hold a backlog, so it sends no heartbeat: nobody knows better.
        time.sleep(1.5)
        quiet = as_of()
        time.sleep(1.5)
        assert as_of() == quiet
        beat = int(now) + 3_600_000
        for rows in scene.world.log.partitions:
            rows.append(heartbeat_marker(99, beat).encode())
        scene.publish()
        scene.eventually(lambda: as_of() == beat)
        time.sleep(1.5)
        assert as_of() == beat  # the stream is silent: so is freshness


def test_an_emptied_redis_says_so_and_is_filled_from_the_topic(scene: Scene) -> None:
    people(scene)
    with scene.loading(), redis.Redis.from_url(scene.redis_url) as plain:
        scene.eventually(scene.is_right)
        for _ in range(3):
            plain.flushdb()
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    assert scene.is_right(), "a false 'not a member'"
                    break
                except Incomplete:
                    time.sleep(0.01)
            scene.eventually(scene.is_right)
    assert "rebuilding" in scene.ear.states or scene.ear.states[-1] == "loading"


def test_a_topic_that_lost_its_beginning_needs_a_reload(scene: Scene) -> None:
    people(scene)
    with KafkaPythonAdmin(scene.bootstrap) as admin:
        ends = admin.end_offsets(scene.topic)
    _cut(scene, ends)
    with scene.loading():
        scene.eventually(lambda: scene.ear.states == ["needs reload"])
        with pytest.raises(Incomplete):
            scene.members("big")
        writer = Writer(scene.redis_url, scene.namespace)
        rows = profiles(scene)
        rebuild(writer, rows, ends, active={"big": 1}, as_of=5)
        scene.world.change([("u1", "big", True)], 0)
        scene.publish()
        scene.eventually(scene.is_right)
        # A reload under a running loader: it moves over to the new generation.
        rows = profiles(scene)
        with KafkaPythonAdmin(scene.bootstrap) as admin:
            ends = admin.end_offsets(scene.topic)
        rebuild(writer, rows, ends, active={"big": 1}, as_of=6)
        scene.world.change([("u1", "big", False), ("u3", "big", True)], 0)
        scene.publish()
        scene.eventually(scene.is_right)
        writer.close()


def profiles(scene: Scene) -> list[Row]:
    """What the tables would hold."""
    world = scene.world
    return [
        (user, world.n, 1, [("big", 1, 1)] if user in world.members["big"] else [], None)
        for user in sorted(world.known)
    ]


def _cut(scene: Scene, ends: dict[int, int]) -> None:

    admin = KafkaAdminClient(bootstrap_servers=scene.bootstrap)
    admin.delete_records({TopicPartition(scene.topic, part): end for part, end in ends.items()})
    admin.close()


def test_poison_is_buried_and_the_rest_goes_on(scene: Scene) -> None:
    people(scene, 4)
    scene.put_raw(b"\xff\x00", b'{"user":1}', b"")
    scene.world.change([("u1", "big", True)], 0)
    scene.publish()
    with scene.loading():
        scene.eventually(scene.is_right)
    dead = in_namespace(scene.namespace, DEAD)
    with ConfluentConsumer(scene.bootstrap, dead, "g") as consumer:
        consumer.start_at({0: 0})
        found = [decode_dead_letter(row.value, row.headers) for row in consumer.poll(3, 5)]
    assert found == scene.ear.rejections
    assert [(letter.reason, letter.raw) for letter in found] == [
        ("not-json", b"\xff\x00"),
        ("wrong-type", b'{"user":1}'),
        ("not-json", b""),
    ]
    assert {letter.topic for letter in found} == {scene.topic}


def test_a_bad_streak_stops_the_loader_by_name(scene: Scene) -> None:
    scene.put_raw(*[b"?"] * (BAD_STREAK + 1))
    with scene.loading() as errors:
        scene.eventually(lambda: bool(errors))
    assert isinstance(errors[0], OperatorError) and scene.topic in str(errors[0])


def test_a_server_that_is_down_at_the_start_is_an_error(scene: Scene) -> None:
    scene.redis_url = "redis://127.0.0.1:9"
    with scene.loading() as errors:
        scene.eventually(lambda: bool(errors))
    assert isinstance(errors[0], CacheDown)


class OwnRedis:
    """A Redis that a story may kill; it keeps an append-only file."""

    def __init__(self, folder: Path) -> None:
        self.port = choose_port()
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        self.process = subprocess.Popen(
            [redis_binary(), *options, "--appendonly", "yes", "--appendfsync", "always"],
            stdout=subprocess.DEVNULL,
        )
        with redis.Redis.from_url(self.url) as plain:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    plain.ping()
                    return
                except redis.ConnectionError:
                    time.sleep(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def test_a_redis_that_comes_back_with_old_data_is_brought_up_to_date(
    servers: Servers, namespace: str, tmp_path: Path
) -> None:
    own = OwnRedis(tmp_path)
    own.start()
    try:
        scene = Scene(servers, namespace, own.url)
        people(scene)
        with scene.loading():
            scene.eventually(scene.is_right)
            with redis.Redis.from_url(own.url) as plain:
                old = {key: plain.dump(key) for key in plain.scan_iter()}
            scene.world.change([("u1", "big", True), ("u3", "big", True)], 0)
            scene.publish()
            scene.eventually(scene.is_right)
            own.kill()
            scene.eventually(lambda: "redis away" in scene.ear.states)
            with pytest.raises(CacheDown):
                scene.members("big")
            own.start()
            scene.eventually(scene.is_right)
            # Now as after a restore from yesterday's backup.
            with redis.Redis.from_url(own.url) as plain:
                pipe: Any = plain.pipeline()
                pipe.flushall()
                for key, value in old.items():
                    pipe.restore(key, 0, value)
                pipe.execute()
            scene.eventually(scene.is_right)
            scene.world.change([("u5", "big", True)], 0)
            scene.publish()
            scene.eventually(scene.is_right)
    finally:
        own.kill()
