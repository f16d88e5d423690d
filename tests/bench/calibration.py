"""Thresholds that make a run yield the wanted number of transitions.

Within a drain ``now`` hardly moves and all measures only grow, so a user enters a rule at most
once: transitions are the memberships at the end. One rule can therefore yield at most one
transition per user (0.1 an event in this workload), which is all that K = 1 can reach.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import truth
from numpy.typing import NDArray
from truth import Ranked
from workload import MEASURES, Ints, Rules

PER_EVENT = 0.25
SAMPLE = 400  # rules looked at while the scale is sought
FEW = 10  # rules: so few must be drawn among the ones that can hold for many users
PLAIN = (0.90, 0.999)


def draw_rules(
    ranked: Ranked,
    events: int,
    count: int,
    *,
    seed: int,
    plain: bool = False,
    before: Ranked | None = None,
) -> Rules:
    """``count`` rules with thresholds at quantiles, scaled together to the wanted yield.

    The yield is that of ``events`` events which lead from ``before`` (nothing) to ``ranked``.
    ``plain`` takes quantiles between 90 and 99.9 % as they come.
    """
    random = np.random.default_rng((seed, count))
    left, right = _pairs(random, count)
    if plain:
        levels = random.uniform(*PLAIN, size=(2, count))
        return _counted(ranked, _rules(ranked, left, right, levels))
    jitter = random.uniform(0.5, 1.0, size=(2, count))
    low, high = 0.0, 2.0
    sample = slice(0, SAMPLE)
    wanted = PER_EVENT * events * min(count, SAMPLE) / count
    for _ in range(24):
        middle = (low + high) / 2
        levels = np.clip(1.0 - middle * jitter, 0.0, 1.0)
        tried = _rules(ranked, left[sample], right[sample], levels[:, sample])
        reached = len(truth.members(ranked, tried))
        if before is not None:
            reached -= len(truth.members(before, tried))
        low, high = (middle, high) if reached < wanted else (low, middle)
    return _counted(ranked, _rules(ranked, left, right, levels))


def _pairs(random: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    """Two different measures for each rule."""
    wide = np.array([row for row, measure in enumerate(MEASURES) if measure.days == 30])
    pool = wide if count <= FEW else np.arange(len(MEASURES))
    if count == 1:
        # The most that one rule can hold for: a user with any event of the type at all.
        twin = MEASURES.index(MEASURES[wide[0]]._replace(function="sum"))
        return wide[:1], np.array([twin])
    left = random.integers(0, len(pool), size=count)
    right = (left + random.integers(1, len(pool), size=count)) % len(pool)
    return pool[left], pool[right]


def _rules(ranked: Ranked, left: Ints, right: Ints, levels: NDArray[np.float64]) -> Rules:
    users = ranked.table.shape[1]
    spots = np.clip(((1.0 - levels) * users).astype(np.int64), 0, users - 1)
    # A threshold of nothing would hold for everybody: the least is one event, or a cent.
    return Rules(
        left,
        right,
        np.maximum(1, -ranked.sizes[left, spots[0]]),
        np.maximum(1, -ranked.sizes[right, spots[1]]),
    )


def _counted(ranked: Ranked, rules: Rules) -> Rules:
    return replace(rules, expected=len(truth.members(ranked, rules)))
