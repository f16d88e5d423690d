"""How the streams are, as the streaming job tells of it with each batch."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

from headrace.clock import MINUTE, SECOND, Instant
from headrace.plan.model import Plan
from headrace.spark.course import Report

# What is judged: the newest messages, about so many, and no fewer than can say anything.
LATELY: Final = 1_000
FEWEST: Final = 20
REASONS: Final = 3
FAILING_SHARE: Final = 0.5


@dataclass(slots=True)
class StreamCounts:
    """What one stream has brought since this life of the job began.

    ``lately`` are counts of the newest batches: "" of accepted messages, others by their reason;
    ``minute`` how many messages those of the last minute had.
    """

    accepted: int = 0
    rejected: int = 0
    last_at: Instant | None = None
    lately: deque[Counter[str]] = field(default_factory=deque)
    minute: deque[tuple[Instant, int]] = field(default_factory=deque)

    def count(self, now: Instant, found: Counter[str]) -> None:
        """Count what a batch has brought."""
        accepted = found[""]
        self.accepted += accepted
        self.rejected += found.total() - accepted
        self.last_at = now
        self.lately.append(found)
        self.minute.append((now, found.total()))
        while self._recent().total() - self.lately[0].total() >= LATELY:
            self.lately.popleft()

    def told(self, now: Instant) -> dict[str, Any]:
        """As JSON: ``rate`` in messages a second over the last minute, ``rejected_share`` of the
        newest; ``failing`` says why, when most of those were rejected."""
        while self.minute and self.minute[0][0] <= now - MINUTE:
            self.minute.popleft()
        recent = self._recent()
        total, rejected = recent.total(), recent.total() - recent[""]
        recent.pop("", None)
        top = recent.most_common(REASONS)
        failing = ""
        if total >= FEWEST and rejected > FAILING_SHARE * total:
            reasons = ", ".join(reason for reason, _ in top)
            failing = f"{rejected:,} of the last {total:,} messages were rejected: {reasons}"
        return {
            "accepted": self.accepted,
            "rejected": self.rejected,
            "last_at": self.last_at,
            "rate": round(sum(count for _, count in self.minute) / (MINUTE / SECOND), 2),
            "rejected_share": round(rejected / total, 4) if total else None,
            "reasons": dict(top),
            "failing": failing,
        }

    def _recent(self) -> Counter[str]:
        return sum(self.lately, Counter())


@dataclass(slots=True)
class Streams:
    """Counts of every stream that the job reads, by id."""

    _counts: dict[str, StreamCounts] = field(default_factory=dict)

    def follow(self, done: Report, plan: Plan) -> dict[str, Any]:
        """Count a batch; what is to be told of the streams of ``plan``, by id."""
        for stream in plan.streams:
            counts = self._counts.setdefault(stream.id, StreamCounts())
            found = Counter(done.by_topic.get(stream.topic, {}))
            if found:
                counts.count(done.header.now, found)
        return {stream.id: self._counts[stream.id].told(done.header.now) for stream in plan.streams}
