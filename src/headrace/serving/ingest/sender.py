"""To Kafka while it takes messages, to disk while it does not; nothing counts before one has it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import structlog

from headrace.kafka.acked import Acknowledged, Busy, Message, Unsent
from headrace.metrics import Metrics
from headrace.serving.ingest.spool import Spool

CHUNK_BYTES: Final = 1 << 20
RETRY_SECONDS: Final = 1.0

Kept: TypeAlias = Literal["kafka", "disk"]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Entry:
    """Messages of one caller on their way to disk, and where he waits for the word."""

    messages: Sequence[Message]
    answer: asyncio.Future[None]


class Sender:
    """Delivers messages, and says where they are safe.

    Once one had to go to disk, all that come after it do, until the disk is empty again: so the
    next never overtakes it. What the broker took without saying so goes out twice; its id tells.

    A message that the topic of its stream does not take goes to our own: one topic that is gone
    must not hold up the events of everybody.
    """

    def __init__(
        self,
        producer: Acknowledged,
        spool: Spool,
        metrics: Metrics,
        topics: Callable[[], Collection[str] | None] = lambda: None,
    ) -> None:
        """``topics`` tells which there are of streams that take events, if anybody knows."""
        self._producer = producer
        self._topics = topics
        self._spool = spool
        self._metrics = metrics
        self._disk = asyncio.Lock()
        self._entries: list[_Entry] = []
        self._coming = asyncio.Event()
        self._waiting = asyncio.Event()
        if not spool.is_empty:
            self._waiting.set()
        self._show()

    async def deliver(self, messages: Sequence[Message]) -> Kept:
        """Returns when all of ``messages`` are kept. Raises Busy or Full, then some may be."""
        if self._waiting.is_set():
            await self._spooled(messages)
            return "disk"
        unsent = await self._sent(messages)
        if not unsent:
            return "kafka"
        await self._spooled([messages[place] for place in unsent])
        return "disk"

    async def keep(self) -> None:
        """Write to disk what is to go there, for ever; those who wait together share a sync."""
        while True:
            await self._coming.wait()
            self._coming.clear()
            group, self._entries = self._entries, []
            await self._append(group)

    async def drain(self) -> None:
        """Bring to the broker what is on disk, for ever."""
        while True:
            await self._waiting.wait()
            try:
                is_sent = await self._drained()
            except Exception as error:  # the outermost loop: events may come in all the same
                log.error("events on disk do not go on to Kafka", error=str(error))
                is_sent = False
            self._show()
            if not is_sent:
                await asyncio.sleep(RETRY_SECONDS)

    async def _drained(self) -> bool:
        """Bring a chunk to the broker, whole: parts of it would lie in another order."""
        async with self._disk:
            chunk = await asyncio.to_thread(self._spool.head, CHUNK_BYTES)
            if chunk is None:
                self._waiting.clear()
                log.info("all events that were kept on disk are in Kafka")
                return True
        topics = self._topics()
        messages = [
            # Its stream may have gone since.
            replace(one, topic="") if topics is not None and one.topic not in topics else one
            for one in chunk.messages
        ]
        try:
            unsent = await self._sent(messages)
        except Busy:
            return False
        if not unsent:
            async with self._disk:
                await asyncio.to_thread(self._spool.forget, chunk)
        return not unsent

    async def _sent(self, messages: Sequence[Message]) -> Unsent:
        """The places of those that the broker has not taken, in their topic or in ours."""
        unsent = await self._tried(messages)
        strays = [place for place in unsent if messages[place].topic]
        if not strays:
            return unsent
        again = await self._tried([replace(messages[place], topic="") for place in strays])
        taken = {*strays} - {strays[place] for place in again}
        if taken:
            topics = sorted({messages[place].topic for place in taken})
            log.warning("events go to our own topic, since theirs takes none", topics=topics)
        return tuple(place for place in unsent if place not in taken)

    async def _tried(self, messages: Sequence[Message]) -> Unsent:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Unsent] = loop.create_future()

        def heard(unsent: Unsent) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(_answer, answer, unsent)

        self._producer.send(messages, heard)
        return await answer

    async def _spooled(self, messages: Sequence[Message]) -> None:
        entry = _Entry(messages, asyncio.get_running_loop().create_future())
        self._entries.append(entry)
        self._coming.set()
        await entry.answer

    async def _append(self, group: Sequence[_Entry]) -> None:
        messages = [message for entry in group for message in entry.messages]
        if not self._waiting.is_set():
            log.warning("Kafka takes no events; they are kept on disk", count=len(messages))
        failure: Exception | None = None
        try:
            async with self._disk:
                await asyncio.to_thread(self._spool.append, messages)
        except Exception as error:
            failure = error  # theirs who wait for it: nobody else is told that it is safe
        self._waiting.set()
        self._show()
        for entry in group:
            if entry.answer.done():  # whoever waited is gone
                continue
            if failure is None:
                entry.answer.set_result(None)
            else:
                entry.answer.set_exception(failure)

    def _show(self) -> None:
        self._metrics.set("headrace_ingest_spool_bytes", self._spool.bytes)


def _answer(future: asyncio.Future[Unsent], unsent: Unsent) -> None:
    if not future.done():  # whoever waited may be gone
        future.set_result(unsent)
