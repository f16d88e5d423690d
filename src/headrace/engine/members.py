"""Membership bits of a group's users."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from headrace.engine.state import BLOCK, Bools, Ints, Words


class Members:
    """The membership words of a group's users: sorted by user and block, no word twice."""

    def __init__(self, owners: Ints, words: Words) -> None:
        self._keys = (owners.astype(np.uint64) << np.uint64(16)) | (words >> np.uint64(BLOCK))
        self._bits = words & np.uint64((1 << BLOCK) - 1)

    def has(self, users: Ints, version_ids: Ints) -> Bools:
        """One bit per pair: is the user a member of the version?"""
        blocks, bits = np.divmod(version_ids, BLOCK)
        keys = (users.astype(np.uint64) << np.uint64(16)) | blocks.astype(np.uint64)
        if not len(self._keys):
            return np.zeros(len(keys), np.bool_)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        bit = (self._bits[places] >> bits.astype(np.uint64)) & np.uint64(1)
        found: Bools = (self._keys[places] == keys) & (bit == 1)
        return found

    def pairs(self) -> tuple[Ints, Ints]:
        """Every membership: users, and the versions they are members of."""
        users, versions = [], []
        for bit in range(BLOCK):
            rows = np.flatnonzero(self._bits >> np.uint64(bit) & np.uint64(1))
            keys = self._keys[rows].astype(np.int64)
            users.append(keys >> 16)
            versions.append((keys & 0xFFFF) * BLOCK + bit)
        return np.concatenate(users), np.concatenate(versions)

    def of(self, version_id: int) -> Ints:
        """The users that are members of a version."""
        block, bit = divmod(version_id, BLOCK)
        order, starts = self._by_block
        if block + 1 >= len(starts):
            return np.empty(0, np.int64)
        rows = order[starts[block] : starts[block + 1]]
        rows = rows[(self._bits[rows] >> np.uint64(bit)) & np.uint64(1) == 1]
        found: Ints = (self._keys[rows] >> np.uint64(16)).astype(np.int64)
        return found

    @cached_property
    def _by_block(self) -> tuple[Ints, Ints]:
        blocks = (self._keys & np.uint64(0xFFFF)).astype(np.uint16)
        starts = np.concatenate([[0], np.cumsum(np.bincount(blocks))])
        return np.argsort(blocks, kind="stable"), starts

    def toggled(self, users: Ints, version_ids: Ints) -> Members:
        """With the membership of each pair (each given once) turned over."""
        if not len(users):
            return self
        blocks, bits = np.divmod(version_ids, BLOCK)
        keys = (users.astype(np.uint64) << np.uint64(16)) | blocks.astype(np.uint64)
        masks = np.uint64(1) << bits.astype(np.uint64)
        all_keys = np.concatenate([self._keys, keys])
        order = np.argsort(all_keys, kind="stable")
        all_keys, all_bits = all_keys[order], np.concatenate([self._bits, masks])[order]
        starts = np.flatnonzero(np.concatenate([[True], all_keys[1:] != all_keys[:-1]]))
        bits_out = np.bitwise_xor.reduceat(all_bits, starts)
        some = bits_out != 0
        return Members._of(all_keys[starts][some], bits_out[some])

    @classmethod
    def _of(cls, keys: Words, bits: Words) -> Members:
        result = cls.__new__(cls)
        result._keys, result._bits = keys, bits
        return result

    def unlike(self, other: Members) -> Ints:
        """The users whose memberships differ."""
        if self is other:
            return np.empty(0, np.int64)
        keys = np.concatenate([self._keys, other._keys])
        bits = np.concatenate([self._bits, other._bits])
        order = np.lexsort((bits, keys))
        keys, bits = keys[order], bits[order]
        same = np.zeros(len(keys), np.bool_)
        twin = (keys[1:] == keys[:-1]) & (bits[1:] == bits[:-1])
        same[1:] |= twin
        same[:-1] |= twin
        users: Ints = (keys[~same] >> np.uint64(16)).astype(np.int64)
        return users

    @property
    def owners(self) -> Ints:
        """The user of each word."""
        return (self._keys >> np.uint64(16)).astype(np.int64)

    @property
    def words(self) -> Words:
        """The words as state rows hold them."""
        return ((self._keys & np.uint64(0xFFFF)) << np.uint64(BLOCK)) | self._bits
