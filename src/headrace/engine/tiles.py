"""Tiles of a group of users: merged with new ones, and read through windows.

All tiles of the group lie in one pair of arrays, sorted by a key of (user, slot place, tile).
Several records of one key add up: that is how a sum beyond 64 bits is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from headrace.engine.program import Compiled
from headrace.engine.state import TILE, Ints, Records, Words
from headrace.plan.lines import FAR

TILE_BITS = 32
_LOW = np.uint64((1 << TILE_BITS) - 1)
NO_TILE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Tiles:
    """Sorted records of ``users`` users: ``keys`` name user, slot and tile, ``values`` add up."""

    code: Compiled
    users: int
    keys: Words
    values: Ints

    @cached_property
    def by_slot(self) -> list[SlotTiles]:
        """The records of each slot, by user and tile."""
        places = self.slots
        order = np.argsort(places.astype(np.uint16), kind="stable")
        sizes = np.bincount(places, minlength=len(self.code.slot_ids))
        ends = np.cumsum(sizes)
        users, tiles, values = self.owners[order], self.numbers[order], self.values[order]
        return [
            SlotTiles(self.users, users[a:b], tiles[a:b], values[a:b])
            for a, b in zip((ends - sizes).tolist(), ends.tolist(), strict=True)
        ]

    @cached_property
    def owners(self) -> Ints:
        """The user of each record."""
        return (self.keys >> np.uint64(TILE_BITS + _slot_bits(self.code))).astype(np.int64)

    @cached_property
    def slots(self) -> Ints:
        """The slot place of each record."""
        return _slots_of(self.code, self.keys)

    @cached_property
    def numbers(self) -> Ints:
        """The tile number of each record."""
        return (self.keys & _LOW).astype(np.int64)

    def records(self) -> Records:
        """The records as state rows hold them."""
        packed = np.empty(len(self.keys), TILE)
        packed["slot"] = self.code.slot_ids[self.slots]
        packed["tile"] = self.numbers
        packed["value"] = self.values
        return packed


@dataclass(frozen=True)
class SlotTiles:
    """Records of one slot, sorted by user and tile."""

    users: int
    owners: Ints
    tiles: Ints
    values: Ints

    @cached_property
    def starts(self) -> Ints:
        """Where each user's records start."""
        if not len(self.owners):
            return np.empty(0, np.int64)
        change = np.flatnonzero(self.owners[1:] != self.owners[:-1]) + 1
        return np.concatenate([np.zeros(1, np.int64), change])

    @cached_property
    def present(self) -> Ints:
        """The users that have records, one for each start."""
        return self.owners[self.starts]

    @cached_property
    def may_overflow(self) -> bool:
        """Could the sum of one user's records leave 62 bits?"""
        if not len(self.values):
            return False
        longest = int(np.diff(self.starts, append=len(self.values)).max())
        most = max(abs(int(self.values.max())), abs(int(self.values.min())))
        return most * longest >= FAR


def _slot_bits(code: Compiled) -> int:
    return max(1, int(len(code.slot_ids) - 1).bit_length()) if len(code.slot_ids) else 1


def _slots_of(code: Compiled, keys: Words) -> Ints:
    mask = np.uint64((1 << _slot_bits(code)) - 1)
    return ((keys >> np.uint64(TILE_BITS)) & mask).astype(np.int64)


def most_users(code: Compiled) -> int:
    """How many users fit into the keys of one group."""
    return 1 << (64 - TILE_BITS - _slot_bits(code))


def keys_of(code: Compiled, owners: Ints, slots: Ints, tiles: Ints) -> Words:
    """The sort keys of records."""
    keys: Words = owners.astype(np.uint64) << np.uint64(TILE_BITS + _slot_bits(code))
    keys |= slots.astype(np.uint64) << np.uint64(TILE_BITS)
    keys |= tiles.astype(np.uint64)
    return keys


def stored_tiles(code: Compiled, users: int, owners: Ints, records: Records) -> Tiles:
    """Records of state rows, without slots that the plan does not know.

    ``owners`` must ascend and each row be sorted, as the kernel writes them.
    """
    places, known = _places(code, records["slot"])
    if not known.all():
        owners, records, places = owners[known], records[known], places[known]
    keys = keys_of(code, owners, places, records["tile"])
    return Tiles(code, users, keys, records["value"].astype(np.int64))


def _places(code: Compiled, slot_ids: npt.NDArray[np.uint32]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Slot ids -> places in the plan, and which of them it knows."""
    if not len(code.slot_ids):
        return np.zeros(len(slot_ids), np.int64), np.zeros(len(slot_ids), np.bool_)
    top = int(code.slot_ids[-1])
    place = np.full(top + 2, -1, np.int64)
    place[code.slot_ids] = np.arange(len(code.slot_ids))
    places = place[np.minimum(slot_ids, top + 1)]
    return places, places >= 0


def merged(tiles: Tiles, keys: Words, values: Ints) -> Tiles:
    """``tiles`` with further records (in any order) combined into them."""
    if not len(keys):
        return tiles
    code = tiles.code
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    if len(tiles.keys):
        keys = np.concatenate([tiles.keys, keys])
        values = np.concatenate([tiles.values, values])
        order = np.argsort(keys, kind="stable")  # two sorted runs: one merge
        keys, values = keys[order], values[order]
    first = np.empty(len(keys), np.bool_)
    first[0] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    if first.all():
        return Tiles(code, tiles.users, keys, values)
    starts = np.flatnonzero(first)
    unique = keys[starts]
    slots = _slots_of(code, unique)
    kinds = code.accumulators[slots] if _has_extremes(code) else None
    longest = int(np.diff(starts, append=len(keys)).max())
    if max(abs(int(values.max())), abs(int(values.min()))) * longest >= FAR:
        return _merged_exactly(tiles, unique, slots, starts, values)
    totals = np.add.reduceat(values, starts)
    if kinds is not None:
        totals = np.where(kinds == "min", np.minimum.reduceat(values, starts), totals)
        totals = np.where(kinds == "max", np.maximum.reduceat(values, starts), totals)
    return Tiles(code, tiles.users, unique, totals)


def _has_extremes(code: Compiled) -> bool:
    return any(slot.accumulator in ("min", "max") for slot in code.plan.slots)


def _merged_exactly(tiles: Tiles, unique: Words, slots: Ints, starts: Ints, values: Ints) -> Tiles:
    """Sums that may leave 64 bits, key by key in Python's integers; rare."""
    keys_out: list[int] = []
    values_out: list[int] = []
    ends = np.append(starts[1:], len(values))
    kinds = tiles.code.accumulators[slots].tolist()
    parts = zip(unique.tolist(), kinds, starts.tolist(), ends.tolist(), strict=True)
    for key, kind, start, end in parts:
        group = values[start:end].tolist()
        total = min(group) if kind == "min" else max(group) if kind == "max" else sum(group)
        pieces = split(total)
        keys_out += [key] * len(pieces)
        values_out += pieces
    return Tiles(
        tiles.code, tiles.users, np.array(keys_out, np.uint64), np.array(values_out, np.int64)
    )


def split(total: int) -> list[int]:
    """A sum as 64-bit parts, always the same ones."""
    if -(1 << 63) <= total < 1 << 63:
        return [total]
    whole, rest = divmod(abs(total), FAR)
    sign = -1 if total < 0 else 1
    return [*([sign * FAR] * whole), *([sign * rest] if rest else [])]


def pruned(tiles: Tiles, now: int) -> Tiles:
    """Without the tiles that no window of their slot's class can hold any more."""
    cutoffs = first_tiles(tiles.code.keeps, tiles.code.hops, now)
    alive = tiles.numbers >= cutoffs[tiles.slots] if len(tiles.keys) else np.empty(0, np.bool_)
    if alive.all():
        return tiles
    return Tiles(tiles.code, tiles.users, tiles.keys[alive], tiles.values[alive])


def first_tiles(lengths: Ints, hops: Ints, now: int) -> Ints:
    """The first tile that a window of each length holds at ``now``."""
    endless = hops == 0
    return np.where(endless, 0, (now - lengths) // np.where(endless, 1, hops))
