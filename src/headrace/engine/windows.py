"""Windows over the tiles of a group, now and as they were."""

from __future__ import annotations

from headrace.engine.state import Bools, Ints
from headrace.engine.tiles import Tiles


class Windows:
    """Which records a window holds, now and when their user's row was written."""

    def __init__(self, tiles: Tiles, now: int, then: Ints) -> None:
        self.tiles, self.now, self._then = tiles, now, then
        self._slots = tiles.form.code.plan.slots
        self._now: dict[tuple[int, int], Bools | None] = {}
        self._firsts: dict[tuple[int, int], Ints] = {}

    def current(self, slot: int, length: int) -> Bools | None:
        """One bit per record of the slot; None: all of them."""
        key = slot, length
        if key not in self._now:
            hop = self._slots[slot].hop
            if hop and length:
                first = (self.now - length) // hop
                self._now[key] = self.tiles.by_slot[slot].tiles >= first
            else:
                self._now[key] = None
        return self._now[key]

    def former(self, slot: int, length: int) -> Bools | None:
        """As `current`, at the instant of each user's own row."""
        hop = self._slots[slot].hop
        if not (hop and length):
            return None
        firsts = self._firsts.get((hop, length))
        if firsts is None:
            firsts = self._firsts[hop, length] = (self._then - length) // hop
        tiles = self.tiles.by_slot[slot]
        inside: Bools = tiles.tiles >= firsts[tiles.owners]
        return inside
