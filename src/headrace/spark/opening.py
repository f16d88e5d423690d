"""What a query reads: the topics of events, and from where in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from headrace.plan.model import Plan
from headrace.rules.streams.model import Begin
from headrace.spark.offsets import TopicOffsets
from headrace.spark.start import Start

# partition -> (the first offset Kafka still holds, the next it will give)
Held: TypeAlias = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Opening:
    """The topics of a query, ours first, and where it begins; None: where its checkpoint says.

    ``parked`` says where topics that are not read will be read on.
    """

    events: tuple[str, ...]
    control: str
    starting: TopicOffsets | None
    parked: TopicOffsets

    @property
    def topics(self) -> tuple[str, ...]:
        """All that it reads."""
        return (*self.events, self.control)


def topics_read(plan: Plan, ours: str) -> tuple[str, ...]:
    """The topics of events that ``plan`` reads: ours, then those of its streams."""
    return (ours, *sorted({stream.topic for stream in plan.streams} - {ours}))


def opening(
    start: Start,
    plan: Plan,
    *,
    ours: str,
    control: str,
    held: Callable[[str], Held],
    accepts_loss: bool = False,
) -> Opening:
    """What the query of ``start`` reads, ``plan`` being the one that its first batch goes on with.

    A generation that goes on reads the topics that it has read, whatever the plan says by now. Who
    ``accepts_loss`` begins with what Kafka still has.
    """
    newest = start.newest
    if newest is not None and not start.is_new:
        known = {topic for topic in newest.ends if topic not in (ours, control)}
        return Opening((ours, *sorted(known)), control, None, newest.parked)
    events = topics_read(plan, ours)
    so_far = {**newest.parked, **newest.ends} if newest else {}
    if newest is None and len(events) == 1:
        return Opening(events, control, None, {})
    begins: dict[str, Begin] = {stream.topic: stream.begin for stream in plan.streams}
    starting = {
        topic: _places(
            so_far.get(topic), held(topic), begins.get(topic, "earliest"), accepts_loss=accepts_loss
        )
        for topic in (*events, control)
    }
    parked = {topic: ends for topic, ends in so_far.items() if topic not in starting}
    return Opening(events, control, starting, parked)


def _places(
    ends: Mapping[int, int] | None, held: Held, begin: Begin, *, accepts_loss: bool
) -> dict[int, int]:
    """Where each partition that Kafka has is read from; one that came later, from its beginning."""
    if ends is None:
        return {part: bounds[begin == "latest"] for part, bounds in held.items()}
    if accepts_loss:
        return {part: reachable(ends.get(part), *bounds) for part, bounds in held.items()}
    # A partition that Kafka no longer has stays among them: reading it fails, and says so.
    return {**{part: first for part, (first, _) in held.items()}, **ends}


def reachable(end: int | None, first: int, following: int) -> int:
    """Where reading can go on: at ``end`` where Kafka still has it, else at the first it has.

    An end beyond what Kafka will give next is one of a topic that was made again.
    """
    return end if end is not None and first <= end <= following else first
