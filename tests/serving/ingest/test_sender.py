"""To Kafka, or to disk and then to Kafka: everything, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import pytest

from headrace.kafka.acked import Busy, Message
from headrace.metrics import Metrics
from headrace.serving.ingest import sender as module
from headrace.serving.ingest.sender import Sender
from headrace.serving.ingest.spool import Full, Spool
from serving.ingest.fakes import FakeBroker


def messages(begin: int, count: int = 5) -> list[Message]:
    return [Message(b"ann", b"%d" % number) for number in range(begin, begin + count)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)


def run(
    folder: Path,
    broker: FakeBroker,
    story: Callable[[Sender, Spool], Awaitable[None]],
    most_bytes: int = 1 << 20,
    topics: Callable[[], Collection[str] | None] = lambda: None,
) -> None:
    async def told() -> None:
        spool = Spool(folder, most_bytes)
        sender = Sender(broker, spool, Metrics(), topics)
        tasks = [asyncio.create_task(work) for work in (sender.keep(), sender.drain())]
        try:
            await asyncio.wait_for(story(sender, spool), 20)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            spool.close()

    asyncio.run(told())


async def until_empty(spool: Spool) -> None:
    while not spool.is_empty:
        await asyncio.sleep(0.01)


def test_while_the_broker_answers_nothing_touches_the_disk(tmp_path: Path) -> None:
    broker = FakeBroker()

    async def story(sender: Sender, spool: Spool) -> None:
        assert await sender.deliver(messages(0)) == "kafka"
        assert spool.bytes == 0

    run(tmp_path, broker, story)
    assert broker.log == messages(0)


def test_one_topic_that_is_gone_holds_up_nobody(tmp_path: Path) -> None:
    broker = FakeBroker(gone=("web.clicks",))
    stray = Message(b"bob", b"x", topic="web.clicks")

    async def story(sender: Sender, spool: Spool) -> None:
        assert await sender.deliver([*messages(0), stray, *messages(5)]) == "kafka"
        assert await sender.deliver(messages(10)) == "kafka"
        broker.is_away = True
        assert await sender.deliver([stray, *messages(15)]) == "disk"
        broker.is_away = False
        await until_empty(spool)

    run(tmp_path, broker, story)
    ours = Message(b"bob", b"x")
    assert broker.log == [*messages(0), *messages(5), ours, *messages(10), *messages(15), ours]


def test_what_waited_for_a_stream_that_is_gone_goes_to_our_own_topic(tmp_path: Path) -> None:
    broker = FakeBroker(is_away=True)
    parts = [Message(b"bob", b"x", topic=topic) for topic in ("web.clicks", "web.views", "")]

    async def story(sender: Sender, spool: Spool) -> None:
        assert await sender.deliver(parts) == "disk"
        broker.is_away = False
        await until_empty(spool)

    run(tmp_path, broker, story, topics=lambda: {"web.views"})
    assert [one.topic for one in broker.log] == ["", "web.views", ""]


def test_what_comes_while_it_is_away_goes_out_in_order_before_what_comes_later(
    tmp_path: Path,
) -> None:
    broker = FakeBroker(is_away=True)

    async def story(sender: Sender, spool: Spool) -> None:
        assert await sender.deliver(messages(0)) == "disk"
        assert await sender.deliver(messages(5)) == "disk"
        broker.is_away = False
        assert await sender.deliver(messages(10)) == "disk", "it would have overtaken the others"
        await until_empty(spool)
        while await sender.deliver(messages(15, 1)) == "disk":
            await asyncio.sleep(0.01)

    run(tmp_path, broker, story)
    assert broker.log[:15] == messages(0, 15)


def test_of_what_was_sent_in_part_the_rest_goes_to_disk(tmp_path: Path) -> None:
    broker = FakeBroker(is_away=True, takes=2)

    async def story(sender: Sender, spool: Spool) -> None:
        assert await sender.deliver(messages(0)) == "disk"
        broker.is_away = False
        await until_empty(spool)

    run(tmp_path, broker, story)
    assert set(broker.log) == set(messages(0))


def test_many_at_once_are_all_kept_and_share_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = FakeBroker(is_away=True)
    syncs: list[int] = []
    real = Spool.append

    def counted(self: Spool, group: list[Message]) -> None:
        syncs.append(len(group))
        real(self, group)

    monkeypatch.setattr(Spool, "append", counted)

    async def story(sender: Sender, spool: Spool) -> None:
        await sender.deliver(messages(0, 1))
        kept = await asyncio.gather(*(sender.deliver(messages(n, 1)) for n in range(1, 101)))
        assert set(kept) == {"disk"}
        broker.is_away = False
        await until_empty(spool)

    run(tmp_path, broker, story)
    assert broker.log == messages(0, 101)
    assert len(syncs) < 30


def test_a_full_disk_and_a_busy_broker_are_told(tmp_path: Path) -> None:
    broker = FakeBroker(is_away=True)

    async def story(sender: Sender, spool: Spool) -> None:
        broker.is_busy = True
        with pytest.raises(Busy):
            await sender.deliver(messages(0))
        broker.is_busy = False
        await sender.deliver(messages(0))
        with pytest.raises(Full):
            await sender.deliver(messages(5, 500))
        broker.is_away = False
        await until_empty(spool)

    run(tmp_path, broker, story, most_bytes=500)
    assert broker.log == messages(0)


def test_of_a_group_that_could_not_be_written_nobody_is_told_that_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = FakeBroker(is_away=True)
    real, failures = Spool.append, [OSError("no more files"), RuntimeError("anything")]

    def failing(self: Spool, group: list[Message]) -> None:
        if len(group) > 1 and failures:
            raise failures.pop()
        real(self, group)

    monkeypatch.setattr(Spool, "append", failing)
    kept: list[int] = []

    async def story(sender: Sender, spool: Spool) -> None:
        async def one(number: int) -> None:
            try:
                await sender.deliver(messages(number, 1))
            except (OSError, RuntimeError):
                return
            kept.append(number)

        await one(0)
        for begin in (1, 20, 40):
            await asyncio.gather(*(one(number) for number in range(begin, begin + 10)))
        broker.is_away = False
        await until_empty(spool)

    run(tmp_path, broker, story)
    assert {message.value for message in broker.log} == {b"%d" % number for number in kept}
    assert failures == [] and len(kept) < 31


def test_many_tiny_events_on_disk_do_not_stop_each_other(tmp_path: Path) -> None:
    broker = FakeBroker(is_away=True)
    tiny = [Message(b"", b"1")] * 30_000

    async def story(sender: Sender, spool: Spool) -> None:
        for begin in range(0, len(tiny), 1_000):
            await sender.deliver(tiny[begin : begin + 1_000])
        broker.is_away = False
        await until_empty(spool)

    run(tmp_path, broker, story)
    assert len(broker.log) == 30_000
