"""Messages read but not applied yet: in order per partition, held behind markers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headrace.cache.writer import Passing, Step
from headrace.clock import Instant
from headrace.kafka.client import Record
from headrace.messages.codec import BadMessage
from headrace.messages.memberships import Activation, Heartbeat, UserChanges, decode_membership


@dataclass(slots=True)
class Batch:
    """What can be applied together, and the markers that stand right behind it."""

    messages: list[UserChanges] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    beats: dict[int, Instant] = field(default_factory=dict)
    bad: list[tuple[Record, BadMessage]] = field(default_factory=list)
    markers: list[tuple[Step, Activation]] = field(default_factory=list)
    # How many messages in a row, up to the last one taken, were bad.
    bad_streak: int = 0


class Queues:
    """A partition that has passed a marker waits until all have.

    So nothing that was published after a hand-over is applied before it is over, and at most one
    hand-over is under way in Redis.
    """

    def __init__(self, offsets: Mapping[int, int], waiting: Iterable[int] = ()) -> None:
        self._next = dict(offsets)
        self._records: dict[int, deque[Record]] = {part: deque() for part in offsets}
        self.waiting = set(waiting)
        self._bad_streak = 0

    @property
    def offsets(self) -> Mapping[int, int]:
        """The next offset to apply of each partition."""
        return self._next

    @property
    def ready(self) -> int:
        """How many messages wait for nothing but to be taken."""
        return sum(len(rows) for part, rows in self._records.items() if part not in self.waiting)

    def add(self, records: Iterable[Record]) -> None:
        """Queue what was read."""
        for record in records:
            self._records[record.partition].append(record)

    def take(self, limit: int) -> Batch:
        """Up to about ``limit`` messages, of each partition up to its next marker."""
        batch = Batch()
        for partition, records in self._records.items():
            if partition in self.waiting or not records or len(batch.messages) >= limit:
                continue
            start = end = self._next[partition]
            while records and len(batch.messages) < limit:
                record = records.popleft()
                marker = self._sort(record, batch)
                if marker is not None:
                    step = Step(partition, record.offset, record.offset + 1)
                    batch.markers.append((step, marker))
                    end = record.offset
                    break
                end = record.offset + 1
            if end > start:
                batch.steps.append(Step(partition, start, end))
                self._next[partition] = end
        batch.bad_streak = self._bad_streak
        return batch

    def _sort(self, record: Record, batch: Batch) -> Activation | None:
        try:
            message = decode_membership(record.value)
        except BadMessage as error:
            batch.bad.append((record, error))
            self._bad_streak += 1
            return None
        self._bad_streak = 0
        match message:
            case UserChanges():
                batch.messages.append(message)
            case Heartbeat(at=at):
                batch.beats[record.partition] = at
            case Activation():
                return message
        return None

    def pass_marker(self, step: Step, passing: Passing) -> None:
        """The partition is behind the marker; the last one lets all of them go on."""
        self._next[step.partition] = step.end
        if passing == "waits":
            self.waiting.add(step.partition)
        elif passing == "last":
            self.waiting.clear()
