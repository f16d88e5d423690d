"""Distinct values of a group of users: which ones, and the latest tile each was seen in.

A value is known by 64 bits. Of each user's values in a slot the most recent stay, of equally
recent ones those of the smallest hashes: whatever the order they came in, the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from headrace.engine.state import Bools, Ints, Words
from headrace.rules.model import MOST_DISTINCT

Hashes: TypeAlias = tuple[Words, Ints]
"""Keys of (slot, user, tile), and a hash beside each."""

_TILE_BITS = 32


@dataclass(frozen=True, slots=True)
class Sets:
    """Sorted by key: the values as they were, and as they are."""

    before: Hashes
    now: Hashes


def merged_sets(stored: Hashes, added: Hashes) -> Sets:
    """``stored`` values with ``added`` ones, in any order."""
    both = zip(stored, added, strict=True)
    keys, hashes = (np.concatenate(parts) for parts in both)
    return Sets(_latest(*stored), _latest(keys, hashes))


def _latest(keys: Words, hashes: Ints) -> Hashes:
    """Each (slot, user, value) once, in its latest tile."""
    groups = keys >> np.uint64(_TILE_BITS)
    order = np.lexsort((keys, hashes, groups))
    keys, hashes, groups = keys[order], hashes[order], groups[order]
    last = np.ones(len(keys), np.bool_)
    last[:-1] = (groups[1:] != groups[:-1]) | (hashes[1:] != hashes[:-1])
    keys, hashes, groups = keys[last], hashes[last], groups[last]
    kept = _most_recent(keys, hashes, groups)
    keys, hashes = keys[kept], hashes[kept]
    order = np.argsort(keys, kind="stable")
    return keys[order], hashes[order]


def _most_recent(keys: Words, hashes: Ints, groups: Words) -> Bools:
    kept = np.ones(len(keys), np.bool_)
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1])[: len(keys)])
    ends = np.append(starts[1:], len(keys))[: len(starts)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start > MOST_DISTINCT:
            # Hashes ascend within a group: of equal tiles the first stay.
            newest = np.argsort(~keys[start:end], kind="stable")
            kept[start + newest[MOST_DISTINCT:]] = False
    return kept


def mixed(values: Ints) -> Ints:
    """A hash of integers that no two share (the finaliser of MurmurHash3)."""
    words = values.astype(np.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        words = (words ^ (words >> np.uint64(33))) * np.uint64(factor)
    found: Ints = (words ^ (words >> np.uint64(33))).view(np.int64)
    return found
