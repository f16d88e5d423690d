"""What the demo watches: the API, the stream's log, the topics' ends and who moves."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from headrace.cli.live import SegmentLine, View
from headrace.cli.served import Api
from headrace.clock import Clock
from headrace.errors import OperatorError
from headrace.jobs.batch_log import LoggedBatch, logged_batches
from headrace.jobs.comparison import Accounts
from headrace.jobs.play import Journal
from headrace.kafka.confluent import ConfluentConsumer
from headrace.messages.codec import BadMessage
from headrace.messages.memberships import UserChanges, decode_membership
from headrace.messages.topics import EVENTS, MEMBERSHIPS, in_namespace
from headrace.runtime import JOB
from headrace.settings import Settings
from headrace.store import Store

MINUTE_SECONDS = 60.0


@dataclass(slots=True)
class Moves:
    """Entries and exits of the last minute, counted from memberships.v1 by a thread."""

    bootstrap: str
    topic: str
    _seen: deque[tuple[float, str, bool]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to read at the topic's start."""
        threading.Thread(target=self._read, name="moves", daemon=True).start()

    def stop(self) -> None:
        """Read no further."""
        self._stop.set()

    def lately(self) -> tuple[Counter[str], Counter[str]]:
        """Entered and left by segment."""
        oldest = time.monotonic() - MINUTE_SECONDS
        with self._lock:
            while self._seen and self._seen[0][0] < oldest:
                self._seen.popleft()
            rows = list(self._seen)
        entered = Counter(segment for _, segment, is_entry in rows if is_entry)
        return entered, Counter(segment for _, segment, is_entry in rows if not is_entry)

    def _read(self) -> None:
        # The table's figures are a comfort: a broker that goes away is noticed by others.
        try:
            with ConfluentConsumer(self.bootstrap, self.topic, "demo") as consumer:
                consumer.start_at({part: b.start for part, b in consumer.bounds().items()})
                while not self._stop.is_set():
                    for record in consumer.poll(5_000, 0.5):
                        self._note(record.value)
        except OperatorError:
            return

    def _note(self, value: bytes | None) -> None:
        try:
            message = decode_membership(value)
        except BadMessage:
            return
        if isinstance(message, UserChanges):
            now = time.monotonic()
            with self._lock:
                self._seen.extend((now, c.segment, c.entered) for c in message.changes)


@dataclass(slots=True)
class Observer:
    """Puts together what the live table shows."""

    settings: Settings
    store: Store
    api: Api
    moves: Moves
    journal: Journal
    clock: Clock
    began: float

    @property
    def topic(self) -> str:
        """Where events go."""
        return in_namespace(self.settings.namespace, EVENTS)

    def batches(self) -> list[LoggedBatch]:
        """Every batch so far, of all launches."""
        rows = self.store.progress(JOB, limit=100)
        return logged_batches(Path(row.log_path) for row in reversed(rows) if row.log_path)

    def ends(self) -> dict[int, int]:
        """The next offset of each partition of the events' topic."""
        with ConfluentConsumer(self.settings.kafka_bootstrap, self.topic, "demo") as consumer:
            return {part: bound.end for part, bound in consumer.bounds().items()}

    def look(self, phase: str) -> View:
        """Everything at this moment."""
        batches = self.batches()
        newest = batches[-1] if batches else None
        read = sum(newest.ends.get(self.topic, {}).values()) if newest else 0
        sizes, as_of = self.api.segments()
        entered, left = self.moves.lately()
        return View(
            phase=phase,
            seconds=time.monotonic() - self.began,
            segments=tuple(
                SegmentLine(id, sizes[id], entered[id], left[id]) for id in sorted(sizes)
            ),
            sent=self.journal.total,
            lag=max(0, self.journal.total - read),
            batch=newest.n if newest else None,
            freshness_ms=max(0, self.clock() - as_of) if as_of and newest else None,
            accounts=accounts(batches),
        )


def accounts(batches: list[LoggedBatch]) -> Accounts:
    """What became of all messages."""
    return Accounts(
        accepted=sum(batch.accepted for batch in batches),
        duplicates=sum(batch.duplicates for batch in batches),
        quarantined=sum(batch.quarantined for batch in batches),
    )


def moves_of(settings: Settings) -> Moves:
    """The moves of the configured broker."""
    return Moves(settings.kafka_bootstrap, in_namespace(settings.namespace, MEMBERSHIPS))
