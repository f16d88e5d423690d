"""When time alone may next change something for a user."""

from __future__ import annotations

import numpy as np

from headrace.engine.measures import Values, in_window
from headrace.engine.program import NEVER, Compiled
from headrace.engine.state import Bools, Ints
from headrace.engine.tiles import SlotTiles, Tiles
from headrace.plan.lines import MISSING
from headrace.plan.model import Measure

_NONE = -1


def due_of(tiles: Tiles, values: Values, now: int) -> Ints:
    """Per user the earliest instant after ``now`` at which a measure may reach another side of a
    cut because tiles leave its window or an age grows; NEVER when none does.

    Tiles that leave without any predicate noticing are not waited for.
    """
    code = tiles.code
    due = np.full(tiles.users, NEVER, np.int64)
    for place, measure in enumerate(code.plan.measures):
        cuts = code.cuts[place]
        if not len(cuts):
            continue
        row = values.table[place]
        if measure.line == "age":
            np.minimum(due, _ageing(row, cuts, now), out=due)
        if measure.length:
            for slot in measure.slots:
                _leaving(due, code, measure, slot, tiles.by_slot[slot], row, cuts, now)
    return due


def _ageing(ages: Ints, cuts: Ints, now: int) -> Ints:
    following = np.append(cuts, NEVER)[np.searchsorted(cuts, ages, side="right")]
    never = (ages == MISSING) | (following == NEVER)
    return np.where(never, NEVER, now + np.where(never, 0, following - ages))


def _leaving(
    due: Ints, code: Compiled, measure: Measure, slot: int, tiles: SlotTiles, row: Ints,
    cuts: Ints, now: int,
) -> None:  # fmt: skip
    """Lower ``due`` to where a tile leaves and takes the measure over a cut."""
    if not len(tiles.values):
        return
    hop = code.plan.slots[slot].hop
    inside = in_window(tiles, hop, measure.length, now)
    assert inside is not None
    if measure.function in ("count", "sum") and not tiles.may_overflow:
        last = _last_of_sum(tiles, inside, row, cuts)
    elif measure.function in ("min", "max"):
        extreme = now - row if measure.line == "age" else row
        holds = np.flatnonzero(inside & (tiles.values == extreme[tiles.owners]))
        last = np.full(tiles.users, _NONE, np.int64)
        last[tiles.owners[holds]] = tiles.tiles[holds]  # tiles ascend: the last one stays
    else:
        last = np.full(tiles.users, _NONE, np.int64)
        rows = np.flatnonzero(inside)[::-1]
        last[tiles.owners[rows]] = tiles.tiles[rows]  # the first one stays
    leaves = np.where(last == _NONE, NEVER, (last + 1) * hop + measure.length)
    np.minimum(due, leaves, out=due)


def _last_of_sum(tiles: SlotTiles, inside: Bools, row: Ints, cuts: Ints) -> Ints:
    """Per user the first tile after whose leaving the sum lies between other cuts."""
    last = np.full(tiles.users, _NONE, np.int64)
    rank = np.searchsorted(cuts, row[tiles.present], side="right")
    low, high = np.append(MISSING, cuts)[rank], np.append(cuts, NEVER)[rank]
    sizes = np.diff(tiles.starts, append=len(tiles.values))
    if tiles.values.min() >= 0:
        # What only shrinks, down to 0, can only fall below the cut under it.
        inside = inside & np.repeat(low > 0, sizes)
    rows = np.flatnonzero(inside)
    if not len(rows):
        return last
    present = np.repeat(np.arange(len(sizes)), sizes)[rows]
    owners, values = tiles.owners[rows], tiles.values[rows]
    gone = np.cumsum(values)
    first = np.concatenate([[True], owners[1:] != owners[:-1]])
    before = (gone - values)[first]
    left = row[owners] - (gone - before[np.cumsum(first) - 1])
    crosses = np.flatnonzero((left < low[present]) | (left >= high[present]))[::-1]
    last[owners[crosses]] = tiles.tiles[rows[crosses]]  # backwards: the first one stays
    return last
