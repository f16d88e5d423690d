"""Measures: what windows over tiles come to, for all users of a group at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from headrace.engine.program import Compiled
from headrace.engine.state import Bools, Ints
from headrace.engine.tiles import NO_TILE, SlotTiles, Tiles
from headrace.plan.lines import FAR, MISSING
from headrace.plan.model import Line, Measure

SCALE = 10_000


@dataclass(frozen=True, slots=True)
class Values:
    """``table[measure, user]``: integers on the measure's line (`plan.lines`).

    Sums beyond FAR saturate there; ``exact`` has them by (measure, user).
    """

    table: Ints
    exact: Mapping[tuple[int, int], int] = field(default_factory=dict)


def measured(tiles: Tiles, at: int | Ints) -> Values:
    """All measures of the plan at ``at``: one instant, or one for each user."""
    code = tiles.code
    table = np.empty((len(code.plan.measures), tiles.users), np.int64)
    exact: dict[tuple[int, int], int] = {}
    for place, measure in enumerate(code.plan.measures):
        slots = [tiles.by_slot[slot] for slot in measure.slots]
        windows = [
            in_window(tiles_of, code.plan.slots[slot].hop, measure.length, at)
            for tiles_of, slot in zip(slots, measure.slots, strict=True)
        ]
        if measure.function == "avg":
            table[place] = _average(slots, windows, code.plan.bases[_base(code, measure)].type)
        elif measure.function in ("min", "max"):
            table[place] = _extreme(slots[0], windows[0], measure.function)
            if measure.line == "age":
                missing = table[place] == MISSING
                table[place] = np.where(missing, MISSING, at - table[place])
        else:
            row, beyond = sums(slots[0], windows[0])
            table[place] = row
            exact.update({(place, user): total for user, total in beyond.items()})
    return Values(table, exact)


def _base(code: Compiled, measure: Measure) -> int:
    return code.plan.slots[measure.slots[0]].base


def in_window(tiles: SlotTiles, hop: int, length: int, at: int | Ints) -> Bools | None:
    """Which records a window holds at ``at``; None: all of them."""
    if not hop:
        return None
    first = (at - length) // hop
    if not isinstance(first, int):
        first = first[tiles.owners]
    inside: Bools = tiles.tiles >= first
    return inside


def sums(tiles: SlotTiles, window: Bools | None) -> tuple[Ints, dict[int, int]]:
    """Each user's sum, and exactly those that saturated."""
    row = np.zeros(tiles.users, np.int64)
    if not len(tiles.values):
        return row, {}
    values = tiles.values if window is None else tiles.values * window
    if not tiles.may_overflow:
        row[tiles.present] = np.add.reduceat(values, tiles.starts)
        return row, {}
    halves = (
        np.add.reduceat(values >> 32, tiles.starts),
        np.add.reduceat(values & 0xFFFFFFFF, tiles.starts),
    )
    totals = [(high << 32) + low for high, low in zip(*(h.tolist() for h in halves), strict=True)]
    row[tiles.present] = [min(max(total, -FAR), FAR) for total in totals]
    owners = tiles.present.tolist()
    return row, {u: t for u, t in zip(owners, totals, strict=True) if abs(t) > FAR}


def _extreme(tiles: SlotTiles, window: Bools | None, function: str) -> Ints:
    row = np.full(tiles.users, MISSING, np.int64)
    if not len(tiles.values):
        return row
    least = function == "min"
    nothing = NO_TILE if least else MISSING
    values = tiles.values if window is None else np.where(window, tiles.values, nothing)
    reduced = (np.minimum if least else np.maximum).reduceat(values, tiles.starts)
    row[tiles.present] = np.where(reduced == nothing, MISSING, reduced)
    return row


def _average(slots: list[SlotTiles], windows: list[Bools | None], type_: str | None) -> Ints:
    """Twice the floor of ten-thousandths, plus one when there is a rest."""
    (total, beyond), (count, _) = (
        sums(tiles, window) for tiles, window in zip(slots, windows, strict=True)
    )
    some = count > 0
    divisor = np.where(some, count, 1)
    whole, rest = np.divmod(total, divisor)
    if type_ != "decimal":  # integers: four more places
        fraction, rest = np.divmod(rest * SCALE, divisor)
        limit = FAR // (2 * SCALE) - 1
        whole = np.clip(whole, -limit, limit) * SCALE + fraction
    row = np.where(some, np.clip(whole * 2 + (rest != 0), -FAR, FAR), MISSING)
    for user, exact in beyond.items():
        scaled = exact if type_ == "decimal" else exact * SCALE
        quotient, left = divmod(scaled, int(count[user]))
        row[user] = min(max(quotient * 2 + (left != 0), -FAR), FAR)
    return row


def number_text(value: int, line: Line) -> str | None:
    """The exact text of a value of a line (`age` must be turned back into an instant before)."""
    if value == MISSING:
        return None
    match line:
        case "integer" | "instant" | "age":
            return str(value)
        case "decimal":
            return _decimal_text(value)
        case "average":
            # Half-even is not knowable from the floor; the floor is what comparisons use too.
            return _decimal_text(value >> 1)


def _decimal_text(value: int) -> str:
    whole, places = divmod(abs(value), SCALE)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{places:04d}".rstrip("0") if places else f"{sign}{whole}"
