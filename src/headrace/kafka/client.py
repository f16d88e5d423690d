"""What we ask of a Kafka client, whichever it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from headrace.errors import OperatorError

# A broker that does not answer within this time is down, for whoever waits at a terminal.
PATIENCE_SECONDS = 8.0

Header = tuple[str, bytes]
Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Record:
    """One message as it lies in a partition; ``timestamp`` is the broker's, in ms."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The offsets a partition holds: from ``start`` up to but not including ``end``."""

    start: int
    end: int


class KafkaDown(OperatorError):
    """No broker answers; the message names the setting."""

    def __init__(self, bootstrap: str, detail: object = "") -> None:
        reason = f" ({detail})" if str(detail) else ""
        super().__init__(
            f"Kafka does not answer at {bootstrap or 'an empty address'}{reason}; "
            "check that it runs and that HEADRACE_KAFKA_BOOTSTRAP names it",
            code="HR901",
        )


class NoTopic(OperatorError):
    """A topic that should exist does not."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Kafka has no topic {name!r}; `headrace up` creates the topics, "
            "and HEADRACE_NAMESPACE stands before their names",
            code="HR902",
        )


class Closing(Protocol):
    """Ends with its ``with`` block."""

    def close(self) -> None:
        """Let go of the broker."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Producer(Closing, Protocol):
    """Sends messages; a message counts as sent when ``flush`` has returned."""

    def send(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        partition: int | None = None,
    ) -> None:
        """Queue a message; waits when the queue is full."""

    def flush(self) -> None:
        """Wait until every queued message is on the broker; raise when one is not."""


class Consumer(Closing, Protocol):
    """Reads one topic from offsets we name: no group decides what it reads."""

    def bounds(self) -> dict[int, Bounds]:
        """What each partition of the topic holds."""

    def start_at(self, offsets: Offsets) -> None:
        """Read on from exactly these offsets, of exactly these partitions."""

    def poll(self, limit: int, seconds: float) -> list[Record]:
        """Up to ``limit`` messages, in order per partition, waiting for the first if need be."""

    def pause(self, partitions: Collection[int]) -> None:
        """Give out nothing of these partitions for now."""

    def resume(self, partitions: Collection[int]) -> None:
        """Go on with these partitions."""

    def commit(self, offsets: Offsets) -> None:
        """Note in the consumer group how far we are, for those who watch lag."""

    def committed(self) -> dict[int, int]:
        """What ``commit`` last noted."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A topic that exists, but not as the table says."""

    topic: str
    setting: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.setting} is {self.found}, should be {self.wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicReport:
    """What creating the topics did and found."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    mismatches: tuple[Mismatch, ...]
