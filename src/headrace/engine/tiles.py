"""Tiles of a group of users: as they were before a batch and as they are after it.

All tiles of the group lie in a few arrays, sorted by a key of (slot place, user, tile): what
belongs to one slot is one stretch, and within it each user's tiles ascend. Several records of
one key add up: that is how a sum beyond 64 bits is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from headrace.engine.program import Compiled
from headrace.engine.sets import Hashes, Sets, merged_sets
from headrace.engine.state import TILE, Ints, Records, Words
from headrace.plan.lines import FAR, MISSING

TILE_BITS = 32
NO_TILE = np.iinfo(np.int64).max
NOTHING = {"min": NO_TILE, "max": MISSING, "sum": 0, "count": 0}
"""What a tile without any event holds, by accumulator."""

_LOW = np.uint64((1 << TILE_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Keys:
    """How slot, user and tile make one key in a group of ``users`` users."""

    code: Compiled
    users: int

    @property
    def _user_bits(self) -> int:
        return max(1, (self.users - 1).bit_length())

    def of(self, slots: Ints | int, owners: Ints, tiles: npt.NDArray[np.integer]) -> Words:
        high = np.asarray(slots, np.uint64) << np.uint64(TILE_BITS + self._user_bits)
        keys: Words = owners.astype(np.uint64) << np.uint64(TILE_BITS)
        keys |= tiles.astype(np.uint64)
        keys |= high
        return keys

    def owners(self, keys: Words) -> Ints:
        mask = np.uint64((1 << self._user_bits) - 1)
        return ((keys >> np.uint64(TILE_BITS)) & mask).astype(np.int64)

    def slots(self, keys: Words) -> Ints:
        return (keys >> np.uint64(TILE_BITS + self._user_bits)).astype(np.int64)

    def starts(self, keys: Words) -> list[int]:
        """Where each slot's stretch of sorted ``keys`` starts, and where the last ends."""
        shift = np.uint64(TILE_BITS + self._user_bits)
        firsts = np.arange(len(self.code.slot_ids) + 1, dtype=np.uint64) << shift
        places: list[int] = np.searchsorted(keys, firsts).tolist()
        places[-1] = len(keys)  # the shifted end may not fit into the word
        return places


def most_users(code: Compiled) -> int:
    """How many users fit into the keys of one group."""
    return 1 << (64 - TILE_BITS - max(1, len(code.slot_ids)).bit_length())


@dataclass(frozen=True)
class SlotTiles:
    """Records of one slot, sorted by user and tile; ``before`` holds what they were."""

    users: int
    owners: Ints
    tiles: Ints
    values: Ints
    before: Ints

    @cached_property
    def starts(self) -> Ints:
        """Where each user's records start."""
        if not len(self.owners):
            return np.empty(0, np.int64)
        change = np.flatnonzero(self.owners[1:] != self.owners[:-1]) + 1
        return np.concatenate([np.zeros(1, np.int64), change])

    @cached_property
    def ends(self) -> Ints:
        """Where each user's records end."""
        return np.append(self.starts[1:], len(self.owners))

    @cached_property
    def present(self) -> Ints:
        """The users that have records, one for each start."""
        return self.owners[self.starts]

    @cached_property
    def may_overflow(self) -> bool:
        """Could the sum of one user's records leave 62 bits?"""
        if not len(self.values):
            return False
        longest = int((self.ends - self.starts).max())
        return max(_largest(self.values), _largest(self.before)) * longest >= FAR

    @cached_property
    def only_grows(self) -> bool:
        """Is no value below 0?"""
        return not len(self.values) or int(self.values.min()) >= 0


def _largest(values: Ints) -> int:
    return max(abs(int(values.max())), abs(int(values.min())))


@dataclass(frozen=True)
class Tiles:
    """Sorted records of a group, and its sets of distinct values."""

    form: Keys
    keys: Words
    values: Ints
    before: Ints
    sets: Sets | None = None

    @cached_property
    def by_slot(self) -> list[SlotTiles]:
        """The records of each slot."""
        owners = self.form.owners(self.keys)
        tiles = (self.keys & _LOW).astype(np.int64)
        starts = self.form.starts(self.keys)
        by_slot = [
            SlotTiles(self.form.users, owners[a:b], tiles[a:b], self.values[a:b], self.before[a:b])
            for a, b in pairwise(starts)
        ]
        if self.sets is not None:
            for place in np.flatnonzero(self.form.code.is_set).tolist():
                by_slot[place] = self._of_set(self.sets, place)
        return by_slot

    def _of_set(self, sets: Sets, place: int) -> SlotTiles:
        """A set as records that count: a value each, in the tile it was last seen in."""
        parts = []
        for keys, _ in (sets.before, sets.now):
            starts = self.form.starts(keys)
            parts.append(keys[starts[place] : starts[place + 1]])
        keys = np.concatenate(parts)
        order = np.argsort(keys, kind="stable")
        is_now = np.repeat([0, 1], [len(part) for part in parts])[order]
        keys = keys[order]
        tiles = (keys & _LOW).astype(np.int64)
        return SlotTiles(self.form.users, self.form.owners(keys), tiles, is_now, 1 - is_now)

    def records(self, now: int) -> tuple[Records, Ints]:
        """The records as state rows hold them, user by user, and how many each user has.

        Tiles that no window of their slot's class can hold any more are left behind.
        """
        code = self.form.code
        keys, values = self.keys, self.values
        if self.sets is not None:
            # Slot by slot, sets after numbers: within a slot they stay sorted.
            both = zip((keys, values), self.sets.now, strict=True)
            keys, values = (np.concatenate(parts) for parts in both)
            order = np.argsort(keys, kind="stable")
            keys, values = keys[order], values[order]
        cutoffs = first_tiles(code.keeps, code.hops, now)
        starts = self.form.starts(keys)
        tiles = (keys & _LOW).astype(np.int64)
        sizes = np.diff(starts)
        alive = tiles >= np.repeat(cutoffs, sizes)
        owners = self.form.owners(keys)
        slots = np.repeat(code.slot_ids, sizes)
        if not alive.all():
            owners, slots = owners[alive], slots[alive]
            tiles, values = tiles[alive], values[alive]
        # Numbers of users are small: as 16-bit integers they sort by radix.
        short = owners.astype(np.uint16) if self.form.users <= 1 << 16 else owners
        order = np.argsort(short, kind="stable")
        packed = np.empty(len(order), TILE)
        packed["slot"], packed["tile"], packed["value"] = slots[order], tiles[order], values[order]
        return packed, np.bincount(owners, minlength=self.form.users)


def stored_tiles(form: Keys, owners: Ints, records: Records) -> tuple[Words, Ints]:
    """Sorted keys and values of state rows' records, without slots that the plan does not know.

    ``owners`` must ascend and each row be sorted, as the kernel writes them.
    """
    known = form.code.slot_ids
    if not len(known) or not len(records):
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    top = int(known[-1])
    place = np.full(top + 2, -1, np.int32)
    place[known] = np.arange(len(known))
    slots = place[np.minimum(records["slot"], top + 1)]
    if (slots < 0).any():
        kept = slots >= 0
        owners, records, slots = owners[kept], records[kept], slots[kept]
    short = slots.astype(np.uint16) if len(known) <= 1 << 16 else slots
    order = np.argsort(short, kind="stable")
    keys = form.of(slots, owners, records["tile"])
    return keys[order], records["value"].astype(np.int64)[order]


def merged(form: Keys, stored: tuple[Words, Ints], added: tuple[Words, Ints]) -> Tiles:
    """Sorted ``stored`` records with ``added`` ones (in any order) combined into them."""
    if not form.code.is_set.any():
        return _merged(form, stored, added)
    stored, stored_sets = _parted(form, *stored)
    added, added_sets = _parted(form, *added)
    return replace(_merged(form, stored, added), sets=merged_sets(stored_sets, added_sets))


def _parted(form: Keys, keys: Words, values: Ints) -> tuple[Hashes, Hashes]:
    """Records that are numbers, and those that are members of sets."""
    in_set = form.code.is_set[form.slots(keys)]
    return (keys[~in_set], values[~in_set]), (keys[in_set], values[in_set])


def _merged(form: Keys, stored: tuple[Words, Ints], added: tuple[Words, Ints]) -> Tiles:
    (keys, before), (new_keys, new_values) = stored, added
    if len(new_keys) and (new_keys[1:] < new_keys[:-1]).any():
        order = np.argsort(new_keys, kind="stable")
        new_keys, new_values = new_keys[order], new_values[order]
    if not len(new_keys):
        return Tiles(form, keys, before, before)
    values = np.concatenate([before, new_values])
    before = np.concatenate([before, _nothing(form, new_keys)])
    keys = np.concatenate([keys, new_keys])
    order = np.argsort(keys, kind="stable")  # two sorted runs: one merge
    keys, values, before = keys[order], values[order], before[order]
    first = np.empty(len(keys), np.bool_)
    first[0] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    if first.all():
        return Tiles(form, keys, values, before)
    return _combined(form, keys, values, before, np.flatnonzero(first))


def _nothing(form: Keys, keys: Words) -> Ints:
    if not form.code.has_extremes:
        return np.zeros(len(keys), np.int64)
    nothing = [NOTHING.get(slot.accumulator, 0) for slot in form.code.plan.slots]
    return np.array(nothing, np.int64)[form.slots(keys)]


def _combined(form: Keys, keys: Words, values: Ints, before: Ints, starts: Ints) -> Tiles:
    ends = np.append(starts[1:], len(keys))
    if _largest_added(form, keys, values, before) * int((ends - starts).max()) >= FAR:
        return _combined_exactly(form, keys, values, before, starts, ends)
    unique = keys[starts]
    result = _run_sums(values, ends), _run_sums(before, ends)
    if form.code.has_extremes:
        slots = form.slots(unique)
        for accumulator, reduce in (("min", np.minimum), ("max", np.maximum)):
            here = form.code.accumulators[slots] == accumulator
            if here.any():
                for out, of in zip(result, (values, before), strict=True):
                    out[here] = reduce.reduceat(of, starts)[here]
    return Tiles(form, unique, *result)


def _largest_added(form: Keys, keys: Words, values: Ints, before: Ints) -> int:
    """The largest amount among what adds up; extremes of nothing are not meant."""
    if form.code.has_extremes:
        adds = np.isin(form.code.accumulators, ("sum", "count"))[form.slots(keys)]
        values, before = values[adds], before[adds]
    return max(_largest(values), _largest(before)) if len(values) else 0


def _run_sums(values: Ints, ends: Ints) -> Ints:
    """Sums of consecutive runs. What wraps around in between cancels out."""
    running = np.cumsum(values)[ends - 1]
    running[1:] -= running[:-1].copy()
    return running


def _combined_exactly(
    form: Keys, keys: Words, values: Ints, before: Ints, starts: Ints, ends: Ints
) -> Tiles:
    """Sums that may leave 64 bits, key by key in Python's integers; rare."""
    out: list[tuple[int, int, int]] = []
    kinds = form.code.accumulators[form.slots(keys[starts])].tolist()
    unique = keys[starts].tolist()
    for key, kind, start, end in zip(unique, kinds, starts.tolist(), ends.tolist(), strict=True):
        now, then = values[start:end].tolist(), before[start:end].tolist()
        if kind in ("min", "max"):
            pick = min if kind == "min" else max
            out.append((key, pick(now), pick(then)))
            continue
        pieces, was = split(sum(now)), split(sum(then))
        for i in range(max(len(pieces), len(was))):
            out.append((key, pieces[i] if i < len(pieces) else 0, was[i] if i < len(was) else 0))
    columns = list(zip(*out, strict=True))
    return Tiles(
        form,
        np.array(columns[0], np.uint64),
        np.array(columns[1], np.int64),
        np.array(columns[2], np.int64),
    )


def split(total: int) -> list[int]:
    """A sum as 64-bit parts, always the same ones."""
    if -(1 << 63) <= total < 1 << 63:
        return [total]
    whole, rest = divmod(abs(total), FAR)
    sign = -1 if total < 0 else 1
    return [*([sign * FAR] * whole), *([sign * rest] if rest else [])]


def first_tiles(lengths: Ints, hops: Ints, now: int) -> Ints:
    """The first tile that a window of each length holds at ``now``."""
    endless = (hops == 0) | (lengths == 0)
    return np.where(endless, 0, (now - lengths) // np.where(endless, 1, hops))
