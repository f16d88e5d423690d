"""The loop: read memberships.v1, apply to Redis, tell how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from headrace.cache.model import CacheDown, GenerationLost, LoaderStatus, Moved
from headrace.cache.writer import Writer
from headrace.clock import Clock, system_clock
from headrace.errors import OperatorError
from headrace.failpoints import reach
from headrace.kafka.client import Bounds, Consumer, KafkaDown
from headrace.loader.queues import Batch, Queues
from headrace.messages.headers import DeadLetter

BATCH = 500
# A message waits this long at most for others to share a batch with.
LINGER_SECONDS = 0.2
REPORT_SECONDS = 1.0
SWEEP_SECONDS = 60.0
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
# One bad message is somebody's mistake; so many in a row are a wrong topic or a wrong version.
BAD_STREAK = 100


class Witness(Protocol):
    """Hears what happens: logs and metrics."""

    def applied(self, messages: int, skipped: int, delay: int | None) -> None:
        """A batch is in Redis, ``delay`` ms after the now of its newest message."""

    def rejected(self, letter: DeadLetter) -> None:
        """A message went to the dead-letter topic."""

    def reported(self, status: LoaderStatus) -> None:
        """The loader has told where it is."""


@dataclass(slots=True)
class _Course:
    """One run over the topic into one generation; ``until`` are the ends a rebuild must reach."""

    generation: str
    queues: Queues
    until: Mapping[int, int] | None

    @property
    def is_filled(self) -> bool:
        """Has a rebuild seen everything that was there when it began?"""
        return self.until is not None and all(
            self.queues.offsets[part] >= end for part, end in self.until.items()
        )


class Loader:
    """Keeps one namespace's cache equal to what memberships.v1 says."""

    def __init__(
        self,
        consume: Callable[[], Consumer],
        writer: Writer,
        *,
        topic: str,
        bury: Callable[[Sequence[DeadLetter]], None],
        witness: Witness,
        clock: Clock = system_clock,
    ) -> None:
        self._consume = consume
        self._writer = writer
        self._topic = topic
        self._bury = bury
        self._witness = witness
        self._clock = clock
        self._has_worked = False
        self._failures = 0
        self._swept = 0.0
        self._sweeping: threading.Thread | None = None

    def run(self, stopping: threading.Event) -> None:
        """Load until told to stop; a server that goes away after the start is waited for."""
        while not stopping.is_set():
            try:
                with self._consume() as consumer:
                    while not stopping.is_set():
                        self._load(consumer, stopping)
            except (KafkaDown, CacheDown) as error:
                if not self._has_worked:
                    raise
                self._tell_trouble(error)
                stopping.wait(BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)])
                self._failures += 1

    def _tell_trouble(self, error: OperatorError) -> None:
        state = "kafka away" if isinstance(error, KafkaDown) else "redis away"
        status = LoaderStatus(state=state, at=self._clock(), detail=str(error))
        self._witness.reported(status)
        with suppress(CacheDown):  # then the API cannot read either, and says so itself
            self._writer.report(status)

    def _load(self, consumer: Consumer, stopping: threading.Event) -> None:
        """Load into one generation until it is lost or replaced."""
        with suppress(GenerationLost, Moved):  # the next turn finds out where Redis stands
            course = self._course(consumer)
            if course is None:
                stopping.wait(REPORT_SECONDS)
                return
            consumer.start_at(course.queues.offsets)
            consumer.pause(course.queues.waiting)
            self._follow(course, consumer, stopping)

    def _course(self, consumer: Consumer) -> _Course | None:
        """Where to go on. None: only a reload from the tables can help."""
        generation = self._writer.current()
        standing = None if generation is None else self._writer.standing(generation)
        # After Redis: ends only grow, so another loader cannot make it look ahead of the topic.
        bounds = consumer.bounds()
        if generation is not None and standing is not None:
            lost = _lost(standing.offsets, bounds)
            if lost:
                # Readers must not go on believing what has a hole.
                self._writer.condemn(generation)
                self._ask_for_reload(lost)
                return None
            if standing.is_complete:
                return _Course(generation, Queues(standing.offsets, standing.waiting), None)
        cut = [part for part, bound in bounds.items() if bound.start > 0]
        if cut:
            start = bounds[cut[0]].start
            self._ask_for_reload(f"partition {cut[0]} of {self._topic} begins at offset {start}")
            return None
        ends = {part: bound.end for part, bound in bounds.items()}
        generation = self._writer.begin_generation(dict.fromkeys(bounds, 0), as_of=0)
        return _Course(generation, Queues(dict.fromkeys(bounds, 0)), ends)

    def _ask_for_reload(self, reason: str) -> None:
        self._report(
            LoaderStatus(
                state="needs reload",
                at=self._clock(),
                detail=f"{reason}: the cache cannot be rebuilt from Kafka; run `headrace reload`",
            )
        )

    def _follow(self, course: _Course, consumer: Consumer, stopping: threading.Event) -> None:
        reported = committed = 0.0
        paused = set(course.queues.waiting)
        while not stopping.is_set():
            queues = course.queues
            if queues.ready < BATCH:
                queues.add(consumer.poll(BATCH, 0 if queues.ready else LINGER_SECONDS))
            self._apply(course, queues.take(BATCH))
            if queues.waiting != paused:
                consumer.resume(paused - queues.waiting)
                consumer.pause(queues.waiting - paused)
                paused = set(queues.waiting)
            if course.is_filled:
                assert course.until is not None
                now = None if any(course.until.values()) else self._clock()
                reach("loader-before-new-generation")
                self._writer.finish_generation(course.generation, as_of=now)
                course.until = None
                reported = 0.0
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                self._check(course, consumer.bounds())
            if time.monotonic() - committed > REPORT_SECONDS:
                committed = time.monotonic()
                consumer.commit(queues.offsets)
        consumer.commit(course.queues.offsets)

    def _apply(self, course: _Course, batch: Batch) -> None:
        partitions = len(course.queues.offsets)
        if batch.bad:
            self._bury_bad(batch)
        if batch.steps:
            done = self._writer.apply(
                course.generation,
                batch.messages,
                batch.steps,
                beats=batch.beats,
                partitions=partitions,
            )
            reach("loader-after-apply")
            newest = max((message.at for message in batch.messages), default=None)
            delay = None if newest is None else self._clock() - newest
            self._witness.applied(done.applied, done.skipped, delay)
        for step, marker in batch.markers:
            reach("loader-before-activation")
            passing = self._writer.activate(course.generation, marker, step, partitions=partitions)
            course.queues.pass_marker(step, passing)

    def _bury_bad(self, batch: Batch) -> None:
        letters = [
            DeadLetter(
                raw=record.value or b"",
                reason=error.reason,
                topic=self._topic,
                partition=record.partition,
                offset=record.offset,
            )
            for record, error in batch.bad
        ]
        self._bury(letters)
        for letter in letters:
            self._witness.rejected(letter)
        if batch.bad_streak >= BAD_STREAK:
            last = letters[-1]
            raise OperatorError(
                f"{batch.bad_streak} messages in a row of {self._topic} make no sense, the last "
                f"({last.reason}) at partition {last.partition} offset {last.offset}: "
                "is this the right topic, and the right version of the streaming job?",
                code="HR907",
            )

    def _check(self, course: _Course, bounds: Mapping[int, Bounds]) -> None:
        """Once a second: does Redis still point at our generation, and how far are we?"""
        now = self._clock()
        current = self._writer.current()
        if current != course.generation and not (current is None and course.until is not None):
            raise GenerationLost(course.generation)
        if bounds.keys() != course.queues.offsets.keys():
            raise OperatorError(
                f"{self._topic} has {len(bounds)} partitions, the cache was filled from "
                f"{len(course.queues.offsets)}: run `headrace reload`",
                code="HR908",
            )
        offsets = course.queues.offsets
        lag = sum(bound.end - offsets[part] for part, bound in bounds.items())
        if course.until is None and not any(bound.end for bound in bounds.values()):
            # Nothing was ever published: that is true as of now. Later the stream's heartbeats say
            # what is, and a stream that has a backlog from before its first start sends none.
            self._writer.caught_up(course.generation, now)
        standing = self._writer.standing(course.generation)
        self._report(
            LoaderStatus(
                state="loading" if course.until is None else "rebuilding",
                at=now,
                as_of=standing.as_of,
                generation=course.generation,
                lag=lag,
                partitions={
                    str(part): {"offset": offsets[part], "end": bound.end}
                    for part, bound in bounds.items()
                },
            )
        )
        self._sweep()

    def _report(self, status: LoaderStatus) -> None:
        self._writer.report(status)
        self._witness.reported(status)
        self._has_worked, self._failures = True, 0

    def _sweep(self) -> None:
        """Remove old generations beside the loading: it scans all keys, for seconds."""
        if time.monotonic() - self._swept < SWEEP_SECONDS or (
            self._sweeping is not None and self._sweeping.is_alive()
        ):
            return
        self._swept = time.monotonic()
        self._sweeping = threading.Thread(target=self._sweep_now, name="sweep", daemon=True)
        self._sweeping.start()

    def _sweep_now(self) -> None:
        with suppress(CacheDown):  # the loop notices by itself; the next sweep goes on
            self._writer.sweep()


def _lost(offsets: Mapping[int, int], bounds: Mapping[int, Bounds]) -> str:
    """Which messages between Redis and the topic are gone, in words; empty if none."""
    for part, bound in bounds.items():
        offset = offsets.get(part)
        if offset is None:
            return f"partition {part} is new to the cache"
        if offset < bound.start:
            return f"partition {part} begins at offset {bound.start}, the cache is at {offset}"
        if offset > bound.end:
            return f"partition {part} ends at offset {bound.end}, the cache is at {offset}"
    return ""
