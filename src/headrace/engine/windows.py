"""Windows over the tiles of a group, now and as they were."""

from __future__ import annotations

import numpy as np

from headrace.engine.calendar import period_starts
from headrace.engine.logs import Logs
from headrace.engine.state import Bools, Ints
from headrace.engine.tiles import Tiles
from headrace.plan.model import Measure

_Key = tuple[int, int, int, str | None, str]


class Windows:
    """Which records a window holds, now and when their user's row was written.

    ``now`` is one instant, or one for each user as ``then`` is.
    """

    def __init__(self, tiles: Tiles, logs: Logs, now: int | Ints, then: Ints) -> None:
        self.tiles, self.logs, self.now, self._then = tiles, logs, now, then
        self._slots = tiles.form.code.plan.slots
        self._now: dict[_Key, Bools | None] = {}
        self._firsts: dict[_Key, Ints] = {}

    def current(self, measure: Measure, slot: int) -> Bools | None:
        """One bit per record of the slot; None: all of them."""
        if not is_moving(measure):
            return None
        key = self._key(measure, slot)
        if key not in self._now:
            tiles = self.tiles.by_slot[slot]
            firsts = tails(measure, np.atleast_1d(self.now)) // self._slots[slot].hop
            first = firsts[0] if isinstance(self.now, int) else firsts[tiles.owners]
            self._now[key] = tiles.tiles >= first
        return self._now[key]

    def former(self, measure: Measure, slot: int) -> Bools | None:
        """As `current`, at the instant of each user's own row."""
        if not is_moving(measure):
            return None
        hop = self._slots[slot].hop
        key = self._key(measure, -hop)  # slots of one hop share their firsts
        firsts = self._firsts.get(key)
        if firsts is None:
            firsts = self._firsts[key] = tails(measure, self._then) // hop
        tiles = self.tiles.by_slot[slot]
        inside: Bools = tiles.tiles >= firsts[tiles.owners]
        return inside

    def _key(self, measure: Measure, slot: int) -> _Key:
        return slot, measure.length, measure.hop, measure.period, measure.zone


def is_moving(measure: Measure) -> bool:
    """Do events leave the window again?"""
    return bool(measure.length or measure.period)


def tails(measure: Measure, at: Ints) -> Ints:
    """The earliest instant that the window holds at each of ``at``."""
    if measure.period is not None:
        return period_starts(measure.period, measure.zone, at)
    if not measure.length:
        return np.zeros(len(at), np.int64)
    return (at - measure.length) // measure.hop * measure.hop
