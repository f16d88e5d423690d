"""How each onboarded stream is: by its row, what the streaming job tells, and Kafka's ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from headrace.clock import SECOND, Clock, Instant, format_instant, round_down, system_clock
from headrace.errors import OperatorError, RuleError
from headrace.rules.catalog import Catalog
from headrace.rules.streams.carriers import carried, needed
from headrace.store import Progress, StoredStream, StoredVersion

# Of "starting" streams the job has read nothing yet; "silent" ones bring less than they promise.
State = Literal["draft", "starting", "active", "failing", "silent", "paused", "retired"]
WORKING: Final[tuple[State, ...]] = ("active", "starting")
TROUBLED: Final[tuple[State, ...]] = ("failing", "silent", "paused")
OLDEST: Final = 3 * SECOND
LAUNCHES: Final = 5
"""How many of the job's launches are looked through for one that has read a topic."""

Ends = Mapping[str, Mapping[int, int]]
"""The next offset of each partition of topics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHealth:
    """A stream at an instant.

    ``accepted`` and ``rejected`` count messages since the job was started, ``rate`` is of the last
    minute, per second, ``rejected_share`` and ``reasons`` are of the newest messages. None is what
    nobody could tell.
    """

    stored: StoredStream
    state: State
    why: str = ""
    accepted: int = 0
    rejected: int = 0
    rate: float | None = None
    rejected_share: float | None = None
    unread: int | None = None
    last_at: Instant | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    as_of: Instant | None = None

    @property
    def in_words(self) -> str:
        """``stream shop_orders is paused since 2026-01-12T10:00:00Z``."""
        words = f"stream {self.stored.id} is {self.state}"
        if self.state == "paused":
            return f"{words} since {format_instant(round_down(self.stored.since))}"
        return f"{words}: {self.why}" if self.why else words


def health_of(
    stored: StoredStream,
    launches: Iterable[Progress],
    ends: Ends | None,
    *,
    now: Instant,
    target: int,
) -> StreamHealth:
    """How ``stored`` is. ``launches`` are the job's, newest first; in ``target`` ms it takes up an
    activation."""
    if stored.state != "active":
        return StreamHealth(stored=stored, state=stored.state)
    stream = stored.readable
    if stream is None:
        return StreamHealth(stored=stored, state="failing", why="its text is of another release")
    topic = stream.topic
    launch = next((one for one in launches if topic in one.details.get("ends", {})), None)
    since = round_down(stored.since)
    if launch is None:
        is_late = bool(stored.trouble) or now - since >= target
        state: State = "failing" if is_late else "starting"
        why = stored.trouble or "its topic is not read yet"
        return StreamHealth(stored=stored, state=state, why=why)
    told: Mapping[str, Any] = launch.details.get("streams", {}).get(stored.id, {})
    last = told.get("last_at")
    heard = max(last or 0, since, round_down(launch.started_at))
    silent_after = stream.silent_after
    is_silent = silent_after is not None and now - heard > silent_after
    failing = stored.trouble or told.get("failing", "")
    quiet = f"no message since {format_instant(heard)}" if is_silent else ""
    return StreamHealth(
        stored=stored,
        state="failing" if failing else "silent" if is_silent else "active",
        why=failing or quiet,
        accepted=told.get("accepted", 0),
        rejected=told.get("rejected", 0),
        rate=told.get("rate"),
        rejected_share=told.get("rejected_share"),
        unread=_unread(launch.details["ends"][topic], ends, topic),
        last_at=last,
        reasons=told.get("reasons", {}),
        as_of=launch.details.get("now"),
    )


def _unread(read: Mapping[str, int], ends: Ends | None, topic: str) -> int | None:
    if ends is None or topic not in ends:
        return None
    return sum(max(0, end - read.get(str(part), 0)) for part, end in ends[topic].items())


def troubled(
    versions: Iterable[StoredVersion],
    streams: Iterable[StreamHealth],
    catalog: Callable[[], Catalog | None],
) -> dict[str, list[StreamHealth]]:
    """Segments, by id, with the streams that say they bring events these need, and do not now.

    What a stream that works may bring too is no trouble. ``catalog`` is asked for only where there
    may be some.
    """
    known = [(one, carried(text)) for one in streams if (text := one.stored.readable) is not None]
    working = [types for one, types in known if one.state in WORKING]
    idle = [(one, types) for one, types in known if one.state in TROUBLED and types is not None]
    if None in working or not idle:
        return {}
    brought = frozenset[str]().union(*(types for types in working if types is not None))
    segments = []
    for row in versions:
        with suppress(RuleError):  # a text of another release
            segments.append(row.segment)
    found: dict[str, list[StreamHealth]] = {}
    for segment, wanted in sorted(needed(segments, catalog() or Catalog()).items()):
        those = [one for one, types in idle if (types & wanted) - brought]
        if those:
            found[segment] = those
    return found


class StoredStreams:
    """Asks Postgres and Kafka, in a thread, when what it knows is older than three seconds."""

    def __init__(
        self,
        streams: Callable[[], Sequence[StoredStream]],
        launches: Callable[[], Sequence[Progress]],
        ends: Callable[[Sequence[str]], Ends],
        *,
        target: int,
        clock: Clock = system_clock,
    ) -> None:
        self._streams = streams
        self._launches = launches
        self._ends = ends
        self._target = target
        self._clock = clock
        self._asking = asyncio.Lock()
        self._latest: tuple[Instant, tuple[StreamHealth, ...]] | None = None

    async def health(self) -> tuple[Instant, tuple[StreamHealth, ...]]:
        """All streams, by id, and when that was; OperatorError while Postgres is away.

        While Kafka is away nobody can tell what is unread.
        """
        async with self._asking:
            if self._latest is None or abs(self._clock() - self._latest[0]) > OLDEST:
                self._latest = await asyncio.to_thread(self._ask)
            return self._latest

    def told(self) -> tuple[StreamHealth, ...]:
        """All streams as Postgres knows them now, whatever waits in Kafka."""
        now, stored = self._clock(), self._streams()
        launches = self._launches() if stored else ()
        return tuple(health_of(one, launches, None, now=now, target=self._target) for one in stored)

    def _ask(self) -> tuple[Instant, tuple[StreamHealth, ...]]:
        now, stored, launches = self._clock(), self._streams(), self._launches()
        active = [one.readable for one in stored if one.state == "active"]
        try:
            ends: Ends | None = self._ends([one.topic for one in active if one is not None])
        except OperatorError:
            ends = None
        return now, tuple(
            health_of(one, launches, ends, now=now, target=self._target) for one in stored
        )
