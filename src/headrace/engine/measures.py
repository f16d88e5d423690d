"""Measures: what windows over tiles come to, for all users of a group at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from headrace.engine.calendar import local_days
from headrace.engine.logs import Log
from headrace.engine.orders import Recalled, recalled
from headrace.engine.state import Bools, Ints
from headrace.engine.tiles import NOTHING, SlotTiles
from headrace.engine.windows import Windows
from headrace.plan.lines import FAR, MISSING
from headrace.plan.model import Line, Measure

SCALE = 10_000

_Window: TypeAlias = Callable[[Measure, int], Bools | None]


@dataclass(frozen=True, slots=True)
class Values:
    """``table[measure, user]``: integers on the measure's line (`plan.lines`).

    Sums beyond FAR saturate there; ``exact`` has them by (measure, user). ``due`` are, by measure,
    the instants at which values that hang on the order of events change.
    """

    table: Ints
    exact: Mapping[tuple[int, int], int] = field(default_factory=dict)
    due: Mapping[int, Recalled] = field(default_factory=dict)


def measured(windows: Windows, only: frozenset[int] | None = None) -> Values:
    """All measures of the plan now; with ``only``, the others as if nothing had happened."""
    after = [(of, of.values) for of in windows.tiles.by_slot]
    return _measured(windows, after, windows.logs.now, windows.current, windows.now, only)


def formerly(windows: Windows, then: Ints) -> Values:
    """All measures as they were before the batch, at one instant per user."""
    before = [(of, of.before) for of in windows.tiles.by_slot]
    return _measured(windows, before, windows.logs.before, windows.former, then)


def _measured(
    windows: Windows,
    slots: list[tuple[SlotTiles, Ints]],
    log: Log,
    window: _Window,
    at: int | Ints,
    only: frozenset[int] | None = None,
) -> Values:
    code = windows.tiles.form.code
    table = np.empty((len(code.plan.measures), windows.tiles.form.users), np.int64)
    exact: dict[tuple[int, int], int] = {}
    due: dict[int, Recalled] = {}

    def hop_of(slot: int) -> int:
        return code.plan.slots[slot].hop

    for place, measure in enumerate(code.plan.measures):
        if only is not None and place not in only:
            table[place] = code.empty[place]
            continue
        match measure.function:
            case "avg":
                base = code.plan.bases[code.plan.slots[measure.slots[0]].base]
                table[place] = _average(measure, slots, window, base.type)
            case "min" | "max":
                (slot,) = measure.slots
                row = _extreme(*slots[slot], window(measure, slot), measure.function)
                table[place] = _aged(row, at) if measure.line == "age" else row
            case "stay":
                table[place] = 0  # stays take their step when everything else is known
            case "first" | "last" | "sequence":
                of = due[place] = recalled(measure, log, at)
                row = np.full(windows.tiles.form.users, code.empty[place], np.int64)
                row[of.users] = of.values
                table[place] = _aged(row, at) if measure.line == "age" else row
            case "days_active":
                (slot,) = measure.slots
                tiles, values = slots[slot]
                inside = window(measure, slot)
                rows = last_of_days(tiles, values, inside, hop_of(slot), measure.zone)
                table[place] = np.bincount(tiles.owners[rows], minlength=tiles.users)
            case "count" | "sum" | "distinct":
                (slot,) = measure.slots
                table[place], beyond = sums(*slots[slot], window(measure, slot))
                exact.update({(place, user): total for user, total in beyond.items()})
    return Values(table, exact, due)


def _aged(instants: Ints, at: int | Ints) -> Ints:
    return np.where(instants == MISSING, MISSING, at - instants)


def last_of_days(tiles: SlotTiles, counts: Ints, window: Bools | None, hop: int, zone: str) -> Ints:
    """The rows of each user's last tile of each day that has an event in the window."""
    some = counts > 0
    rows = np.flatnonzero(some if window is None else some & window)
    owners, days = tiles.owners[rows], local_days(zone, tiles.tiles[rows] * hop)
    last = np.ones(len(rows), np.bool_)
    last[:-1] = (owners[1:] != owners[:-1]) | (days[1:] != days[:-1])
    return rows[last]


def sums(tiles: SlotTiles, values: Ints, window: Bools | None) -> tuple[Ints, dict[int, int]]:
    """Each user's sum, and exactly those that saturated."""
    row = np.zeros(tiles.users, np.int64)
    if not len(values):
        return row, {}
    inside = values if window is None else values * window
    if not tiles.may_overflow:
        running = np.cumsum(inside)[tiles.ends - 1]
        running[1:] -= running[:-1].copy()
        row[tiles.present] = running
        return row, {}
    halves = (np.add.reduceat(half, tiles.starts) for half in (inside >> 32, inside & 0xFFFFFFFF))
    totals = [(high << 32) + low for high, low in zip(*(h.tolist() for h in halves), strict=True)]
    row[tiles.present] = [min(max(total, -FAR), FAR) for total in totals]
    owners = tiles.present.tolist()
    return row, {u: t for u, t in zip(owners, totals, strict=True) if abs(t) > FAR}


def _extreme(tiles: SlotTiles, values: Ints, window: Bools | None, function: str) -> Ints:
    row = np.full(tiles.users, MISSING, np.int64)
    if not len(values):
        return row
    nothing = NOTHING[function]
    inside = values if window is None else np.where(window, values, nothing)
    reduced = (np.minimum if function == "min" else np.maximum).reduceat(inside, tiles.starts)
    row[tiles.present] = np.where(reduced == nothing, MISSING, reduced)
    return row


def _average(
    measure: Measure, slots: list[tuple[SlotTiles, Ints]], window: _Window, type_: str | None
) -> Ints:
    """Twice the floor of ten-thousandths, plus one when there is a rest."""
    (total, beyond), (count, _) = (
        sums(*slots[slot], window(measure, slot)) for slot in measure.slots
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
    """The text of a value on a line, exact but for averages: those show the floor of 4 places."""
    if value == MISSING:
        return None
    match line:
        case "integer" | "instant" | "age":
            return str(value)
        case "decimal":
            return _decimal_text(value)
        case "average":
            return _decimal_text(value >> 1)


def _decimal_text(value: int) -> str:
    whole, places = divmod(abs(value), SCALE)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{places:04d}".rstrip("0") if places else f"{sign}{whole}"
