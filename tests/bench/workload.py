"""The benchmark's input: users, events and rules, drawn from one seed, all as columns.

200,000 users draw 2 million events by Zipf 0.6, spread evenly over the 30 days before the topic
was filled, in the order of their time. Amounts are log-normal, in cents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
TYPES = ("view", "search", "cart", "order", "refund", "review", "open", "click")
PARTITIONS = 4
USERS, EVENTS = 200_000, 2_000_000
# Days of a window, and the hop its tail moves in: the language's default for that length.
WINDOWS = {1: 5 * MINUTE, 7: HOUR, 30: HOUR}


class Measured(NamedTuple):
    """A measure of the workload: count of events, or sum of amounts, of a type in some days."""

    function: str
    type: int
    days: int


MEASURES = tuple(
    Measured(function, type_, days)
    for function in ("count", "sum")
    for type_ in range(len(TYPES))
    for days in WINDOWS
)


@dataclass(frozen=True, slots=True)
class Events:
    """All events in the order they are sent; ``offset`` is where each lies in its partition."""

    user: Ints
    type: Ints
    cents: Ints
    ts: Ints
    partition: Ints
    offset: Ints
    users: int

    def __len__(self) -> int:
        return len(self.user)


def draw_events(*, seed: int, end: int, scale: float = 1.0) -> Events:
    """The workload's events up to ``end``; ``scale`` shrinks users and events alike."""
    random = np.random.default_rng(seed)
    users, count = max(100, round(USERS * scale)), max(1_000, round(EVENTS * scale))
    chances = np.cumsum(1.0 / np.arange(1, users + 1) ** 0.6)
    ranks = np.searchsorted(chances, random.random(count) * chances[-1])
    user = random.permutation(users)[np.minimum(ranks, users - 1)].astype(np.int64)
    partition = user % PARTITIONS
    offset = np.empty(count, dtype=np.int64)
    for number in range(PARTITIONS):
        mine = partition == number
        offset[mine] = np.arange(mine.sum())
    return Events(
        user=user,
        type=random.integers(0, len(TYPES), size=count),
        cents=np.maximum(1, np.round(random.lognormal(3.4, 1.0, size=count) * 100)).astype(
            np.int64
        ),
        ts=np.sort(end - random.integers(1, 30 * DAY, size=count)),
        partition=partition,
        offset=offset,
        users=users,
    )


def draw_traffic(random: np.random.Generator, *, count: int, users: int, now: int) -> Events:
    """``count`` events of the instant ``now`` by the same users, types and amounts."""
    chances = np.cumsum(1.0 / np.arange(1, users + 1) ** 0.6)
    ranks = np.searchsorted(chances, random.random(count) * chances[-1])
    user = np.minimum(ranks, users - 1).astype(np.int64)
    return Events(
        user=user,
        type=random.integers(0, len(TYPES), size=count),
        cents=np.maximum(1, random.lognormal(3.4, 1.0, size=count) * 100).astype(np.int64),
        ts=np.full(count, now),
        partition=user % PARTITIONS,
        offset=np.zeros(count, dtype=np.int64),
        users=users,
    )


def user_name(number: int) -> str:
    """The id of a user; `user_number` is its inverse."""
    return f"u{number:06d}"


def user_number(name: str) -> int:
    """The number of a user's id."""
    return int(name[1:])


def encode(events: Events, *, prefix: str = "e") -> Iterator[Sequence[tuple[int, str, str]]]:
    """The events as (partition, key, value), in slices; a value is about 150 bytes."""
    frame = pl.DataFrame(
        {
            "number": np.arange(len(events)),
            "user": events.user,
            "type": np.array(TYPES)[events.type],
            "cents": events.cents,
            "ts": events.ts,
            "partition": events.partition,
        }
    )
    user = pl.format("u{}", pl.col("user").cast(pl.String).str.zfill(6))
    cents = (pl.col("cents") % 100).cast(pl.String).str.zfill(2)
    value = pl.format(
        '{"event_id":"{}-{}","user_id":"{}","type":"{}","ts":{},"properties":'
        '{"amount":{}.{},"sku":"sku-{}","channel":"web"}}'.replace('{"', '\x01"').replace(
            "}}", "\x02\x02"
        ),
        pl.lit(prefix),
        pl.col("number").cast(pl.String).str.zfill(8),
        user,
        "type",
        "ts",
        pl.col("cents") // 100,
        cents,
        (pl.col("number") * 7919 % 9000 + 1000),
    )
    value = value.str.replace_all("\x01", "{", literal=True)
    value = value.str.replace_all("\x02", "}", literal=True)
    for part in frame.iter_slices(100_000):
        rows = part.select("partition", user.alias("key"), value.alias("value"))
        yield rows.rows()


@dataclass(frozen=True, slots=True)
class Rules:
    """K rules: rule k holds when both of its measures are at or above their constants."""

    left: Ints
    right: Ints
    left_at: Ints
    right_at: Ints
    expected: int = 0

    def __len__(self) -> int:
        return len(self.left)

    def conjuncts(self, rule: int) -> tuple[tuple[Measured, int], tuple[Measured, int]]:
        """Rule ``rule`` as two (measure, constant); constants of sums are cents."""
        return (
            (MEASURES[self.left[rule]], int(self.left_at[rule])),
            (MEASURES[self.right[rule]], int(self.right_at[rule])),
        )


def rule_name(number: int) -> str:
    """The id of a rule; `rule_number` is its inverse."""
    return f"r{number:05d}"


def rule_number(name: str) -> int:
    """The number of a rule's id."""
    return int(name[1:])


def rule_document(rules: Rules, number: int) -> dict[str, object]:
    """Rule ``number`` as a segment file says it."""
    return {
        "apiVersion": "headrace/v1",
        "kind": "Segment",
        "metadata": {"id": rule_name(number), "owner": "bench"},
        "spec": {"match": {"all": [_condition(*pair) for pair in rules.conjuncts(number)]}},
    }


def _condition(measure: Measured, constant: int) -> dict[str, object]:
    counted = measure.function == "count"
    return {
        "event": TYPES[measure.type],
        **({"count": True} if counted else {"sum": "amount"}),
        "within": f"{measure.days} days",
        "gte": constant if counted else constant / 100,
    }


def catalog_document(*, publish: bool = False) -> dict[str, object]:
    """The catalog of the workload; with ``publish`` every accepted event leaves again."""
    fields = {
        "amount": {"type": "decimal"},
        "sku": {"type": "string"},
        "channel": {"type": "string"},
    }
    return {
        "apiVersion": "headrace/v1",
        "kind": "Catalog",
        "events": {name: {"properties": fields, "publish": publish} for name in TYPES},
        "traits": {"country": {"type": "string"}},
    }
