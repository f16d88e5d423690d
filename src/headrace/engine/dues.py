"""When time alone may next change something for a user."""

from __future__ import annotations

import numpy as np

from headrace.engine.calendar import period_ends
from headrace.engine.measures import Values, last_of_days
from headrace.engine.program import NEVER
from headrace.engine.state import Bools, Ints
from headrace.engine.tiles import SlotTiles
from headrace.engine.windows import Windows
from headrace.plan.lines import MISSING
from headrace.plan.model import Measure

_NONE = -1


def due_of(windows: Windows, values: Values, only: frozenset[int] | None = None) -> Ints:
    """Per user the earliest instant after now at which a measure may reach another side of a cut
    because tiles leave its window or an age grows; NEVER when none does.

    Tiles that leave without any predicate noticing are not waited for.
    """
    form = windows.tiles.form
    due = np.full(form.users, NEVER, np.int64)
    for place, measure in enumerate(form.code.plan.measures):
        cuts = form.code.cuts[place]
        if not len(cuts) or (only is not None and place not in only):
            continue
        row = values.table[place]
        if measure.line == "age":
            np.minimum(due, _ageing(row, cuts, windows.now), out=due)
        recalled = values.due.get(place)
        if recalled is not None:
            np.minimum.at(due, recalled.users, recalled.due)
        elif measure.period is not None:
            np.minimum(
                due, _ending(measure, row, int(form.code.empty[place]), cuts, windows.now), out=due
            )
        elif measure.length:
            for slot in measure.slots:
                owners, tiles = _leaving(windows, measure, slot, row, cuts)
                if len(owners):
                    started = tiles * form.code.plan.slots[slot].hop
                    leaves = (started // measure.hop + 1) * measure.hop + measure.length
                    due[owners] = np.minimum(due[owners], leaves)
    return due


def _ageing(ages: Ints, cuts: Ints, now: int | Ints) -> Ints:
    following = np.append(cuts, NEVER)[np.searchsorted(cuts, ages, side="right")]
    never = (ages == MISSING) | (following == NEVER)
    return np.where(never, NEVER, now + np.where(never, 0, following - ages))


def _ending(measure: Measure, row: Ints, empty: int, cuts: Ints, now: int | Ints) -> Ints:
    """When the period ends nothing is left in it."""
    assert measure.period is not None
    end = period_ends(measure.period, measure.zone, np.atleast_1d(now))
    sides = np.searchsorted(cuts, row, side="right")
    return np.where(sides != np.searchsorted(cuts, empty, side="right"), end, NEVER)


def _leaving(
    windows: Windows, measure: Measure, slot: int, row: Ints, cuts: Ints
) -> tuple[Ints, Ints]:
    """Users, each once, and the tile whose leaving takes their measure over a cut."""
    tiles = windows.tiles.by_slot[slot]
    inside = windows.current(measure, slot)
    if not len(tiles.values) or inside is None:
        return tiles.owners[:0], tiles.tiles[:0]
    if measure.function in ("count", "sum", "distinct") and not tiles.may_overflow:
        rows = _crossing(tiles, inside, row, cuts)
    elif measure.function == "days_active":
        hop = windows.tiles.form.code.plan.slots[slot].hop
        rows = last_of_days(tiles, tiles.values, inside, hop, measure.zone)
    elif measure.function in ("min", "max"):
        # The extreme goes when the last tile that holds it does.
        extreme = windows.now - row if measure.line == "age" else row
        rows = np.flatnonzero(inside & (tiles.values == extreme[tiles.owners]))[::-1]
    else:
        rows = np.flatnonzero(inside)
    owners = tiles.owners[rows]
    first = np.ones(len(rows), np.bool_)
    first[1:] = owners[1:] != owners[:-1]
    return owners[first], tiles.tiles[rows[first]]


def _crossing(tiles: SlotTiles, inside: Bools, row: Ints, cuts: Ints) -> Ints:
    """Records, by user and tile, after whose leaving the sum lies between other cuts."""
    total = row[tiles.present]
    nothing = np.empty(0, np.int64)
    if tiles.only_grows:
        # What only shrinks, down to 0, can only fall below the cut under it.
        above = int(np.searchsorted(cuts, 0, side="right"))
        if above == len(cuts):
            return nothing
        groups = np.flatnonzero(total >= cuts[above])
        if not len(groups):
            return nothing
        sizes = (tiles.ends - tiles.starts)[groups]
        offset = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = np.repeat(tiles.starts[groups], sizes) + offset
        rows = rows[inside[rows]]
    else:
        rows = np.flatnonzero(inside)
    if not len(rows):
        return nothing
    owners, values = tiles.owners[rows], tiles.values[rows]
    first = np.ones(len(rows), np.bool_)
    first[1:] = owners[1:] != owners[:-1]
    group = np.cumsum(first) - 1
    total = row[owners[first]]
    rank = np.searchsorted(cuts, total, side="right")
    low, high = np.append(MISSING, cuts)[rank], np.append(cuts, NEVER)[rank]
    gone = np.cumsum(values)
    left = (total + (gone - values)[first])[group] - gone
    crosses: Ints = rows[(left < low[group]) | (left >= high[group])]
    return crosses
