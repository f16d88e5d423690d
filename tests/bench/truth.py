"""Who is in which rule at an instant, by plain column arithmetic; shares nothing with the kernel.

The measures of all users are a dense matrix, computed from the events themselves by the rule of
the design: an event at ``e`` counts at ``t`` iff ``e <= t < floor(e, hop) + hop + window``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from workload import DAY, MEASURES, WINDOWS, Events, Ints, Rules


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a batch ended: its number, its instant and the next offset of each partition."""

    n: int
    now: int
    ends: Mapping[int, int]


def measures(events: Events, now: int, seen: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """One row per measure of ``MEASURES``, one column per user; sums are cents."""
    table = np.zeros((len(MEASURES), events.users), dtype=np.int64)
    for row, measure in enumerate(MEASURES):
        hop = WINDOWS[measure.days]
        first = (now - measure.days * DAY) // hop * hop
        chosen = (events.type == measure.type) & (events.ts >= first) & (events.ts <= now)
        if seen is not None:
            chosen &= seen
        # Exact: sums of cents stay far below 2^53.
        weights = events.cents[chosen].astype(np.float64) if measure.function == "sum" else None
        counted = np.bincount(events.user[chosen], weights=weights, minlength=events.users)
        table[row] = counted.astype(np.int64)
    return table


@dataclass(frozen=True, slots=True)
class Ranked:
    """A table of measures with each row's users in order, largest first."""

    table: NDArray[np.int64]
    order: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @staticmethod
    def of(table: NDArray[np.int64]) -> Ranked:
        """Sort each row of ``table`` once."""
        order = np.argsort(-table, axis=1, kind="stable")
        return Ranked(table, order, np.take_along_axis(-table, order, axis=1))


def members(ranked: Ranked, rules: Rules) -> Ints:
    """All memberships as ``user * K + rule``, sorted."""
    found = [np.empty(0, dtype=np.int64)]
    for rule in range(len(rules)):
        sides = [(int(rules.left[rule]), int(rules.left_at[rule]))]
        sides.append((int(rules.right[rule]), int(rules.right_at[rule])))
        holding = [
            np.searchsorted(ranked.sizes[row], -constant, side="right") for row, constant in sides
        ]
        rare, other = sides if holding[0] <= holding[1] else sides[::-1]
        users = ranked.order[rare[0]][: min(holding)]
        users = users[ranked.table[other[0]][users] >= other[1]]
        found.append(users * len(rules) + rule)
    return np.sort(np.concatenate(found))


def seen_by(events: Events, ends: Mapping[int, int]) -> NDArray[np.bool_]:
    """Which events lie before the end offsets of a batch."""
    limits = np.array([ends.get(number, 0) for number in range(max(ends, default=0) + 1)])
    return np.asarray(events.offset < limits[events.partition])


@dataclass(frozen=True, slots=True)
class Moves:
    """Transitions of batch ``n``: entries and exits as ``user * K + rule``, sorted."""

    n: int
    entered: Ints
    left: Ints

    @property
    def count(self) -> int:
        """How many transitions."""
        return len(self.entered) + len(self.left)


def transitions(events: Events, rules: Rules, batches: Iterable[Boundary]) -> list[Moves]:
    """What a perfect stream would publish for each batch: memberships at its end against before."""
    before = np.empty(0, dtype=np.int64)
    moves = []
    for batch in batches:
        after = members(Ranked.of(measures(events, batch.now, seen_by(events, batch.ends))), rules)
        moves.append(
            Moves(
                batch.n,
                np.setdiff1d(after, before, assume_unique=True),
                np.setdiff1d(before, after, assume_unique=True),
            )
        )
        before = after
    return moves
