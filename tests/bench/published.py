"""What the stream published, read back from memberships.v1 and held against the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from truth import Moves
from workload import Ints, rule_number, user_number

from headrace.kafka.confluent import ConfluentConsumer
from headrace.messages.topics import ACCEPTED


@dataclass(frozen=True, slots=True)
class Published:
    """All messages about users: their transitions by batch, their bytes and the last one's time."""

    moves: Sequence[Moves]
    messages: int
    size: int
    last_at: int
    repeats: int


def read_published(bootstrap: str, topic: str, rules: int) -> Published:
    """Read the topic to its present end; messages sent twice under one id count once."""
    entered: dict[int, list[int]] = defaultdict(list)
    left: dict[int, list[int]] = defaultdict(list)
    seen: set[tuple[int, str]] = set()
    size = last_at = repeats = 0
    for value, timestamp in _values(bootstrap, topic):
        message = orjson.loads(value)
        if "marker" in message:
            continue
        size += len(value)
        last_at = max(last_at, timestamp)
        n, user = message["n"], message["user"]
        if (n, user) in seen:
            repeats += 1
            continue
        seen.add((n, user))
        number = user_number(user) * rules
        for change in message["changes"]:
            side = entered if change["change"] == "enter" else left
            side[n].append(number + rule_number(change["segment"]))
    moves = [Moves(n, _sorted(entered[n]), _sorted(left[n])) for n in sorted({*entered, *left})]
    return Published(moves, len(seen), size, last_at, repeats)


@dataclass(frozen=True, slots=True)
class SentOn:
    """Accepted events that were published: how many different ones, and the last one's time."""

    events: int
    last_at: int


def read_accepted(bootstrap: str) -> SentOn:
    """Read events.accepted.v1 to its present end."""
    seen: set[bytes] = set()
    last_at = 0
    for value, timestamp in _values(bootstrap, ACCEPTED):
        message = orjson.loads(value)
        seen.add(f"{message['sent_id']}/{message['event_id']}".encode())
        last_at = max(last_at, timestamp)
    return SentOn(len(seen), last_at)


def _sorted(numbers: list[int]) -> Ints:
    return np.sort(np.array(numbers, dtype=np.int64))


def _values(bootstrap: str, topic: str) -> Iterable[tuple[bytes, int]]:
    with ConfluentConsumer(bootstrap, topic, "bench-reader") as consumer:
        bounds = consumer.bounds()
        consumer.start_at({part: bound.start for part, bound in bounds.items()})
        wanted = {part: bound.end for part, bound in bounds.items() if bound.end > bound.start}
        while wanted:
            for record in consumer.poll(10_000, 1.0):
                if record.value is not None:
                    yield record.value, record.timestamp
                if wanted.get(record.partition, 0) <= record.offset + 1:
                    wanted.pop(record.partition, None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Published against true transitions: how many of each, and how many are not the same."""

    published: int
    true: int
    wrong: int

    @property
    def ratio(self) -> float:
        """Published transitions per true one."""
        return self.published / self.true if self.true else float(self.published == 0)


def judge(published: Sequence[Moves], true: Sequence[Moves]) -> Verdict:
    """Every transition must be there in its own batch, once, in the right direction."""
    told = {moves.n: moves for moves in published}
    real = {moves.n: moves for moves in true}
    nothing = np.empty(0, dtype=np.int64)
    wrong = 0
    for n in told.keys() | real.keys():
        one, other = told.get(n), real.get(n)
        wrong += _different(one.entered if one else nothing, other.entered if other else nothing)
        wrong += _different(one.left if one else nothing, other.left if other else nothing)
    return Verdict(
        sum(moves.count for moves in published), sum(moves.count for moves in true), wrong
    )


def _different(one: Ints, other: Ints) -> int:
    # A transition told twice in one batch is wrong too.
    twice = len(one) - len(np.unique(one))
    return twice + len(np.setxor1d(one, other))
