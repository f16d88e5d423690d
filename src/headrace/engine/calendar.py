"""Days, weeks, months and years of time zones, for many instants at once.

A day starts at its first instant, however the clocks were set around it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.clock import DAY, zone
from headrace.engine.state import Ints
from headrace.rules.model import PeriodName

Dates: TypeAlias = npt.NDArray[np.datetime64]

_LAST_YEAR = 9998  # Python's calendar ends soon after


def local_days(of: str, instants: Ints) -> Ints:
    """The number of the day (since 1970) that each instant falls on in zone ``of``."""
    if of == "UTC" or not len(instants):
        return instants // DAY
    first, starts = _starts(of, instants)
    days: Ints = first + np.searchsorted(starts, instants, side="right") - 1
    return days


def period_starts(name: PeriodName, of: str, instants: Ints) -> Ints:
    """The first instant of the period that holds each of ``instants``."""
    return _day_starts(of, instants, _first_days(name, local_days(of, instants)))


def period_ends(name: PeriodName, of: str, instants: Ints) -> Ints:
    """The first instant after the period that holds each of ``instants``."""
    days = _first_days(name, local_days(of, instants))
    match name:
        case "today":
            following = days + 1
        case "this_week":
            following = days + 7
        case "this_month":
            following = _next(days, "M")
        case "this_year":
            following = _next(days, "Y")
    return _day_starts(of, instants, following)


def _first_days(name: PeriodName, days: Ints) -> Ints:
    match name:
        case "today":
            return days
        case "this_week":
            return days - (days + 3) % 7  # 1970 began on a Thursday
        case "this_month":
            return _dates(days).astype("M8[M]").astype("M8[D]").astype(np.int64)
        case "this_year":
            return _dates(days).astype("M8[Y]").astype("M8[D]").astype(np.int64)


def _next(days: Ints, unit: str) -> Ints:
    following = _dates(days).astype(f"M8[{unit}]") + np.timedelta64(1, unit)  # type: ignore[call-overload]
    found: Ints = following.astype("M8[D]").astype(np.int64)
    return found


def _dates(days: Ints) -> Dates:
    return days.astype("M8[D]")


def _day_starts(of: str, instants: Ints, days: Ints) -> Ints:
    if of == "UTC" or not len(instants):
        return days * DAY
    first, starts = _starts(of, instants)
    return starts[days - first]


def _starts(of: str, instants: Ints) -> tuple[int, Ints]:
    """The number of a day before all ``instants``, and the first instants of it and those after
    it, until the end of the last year's next one."""
    years = [
        int(of_one.astype("M8[ms]").astype("M8[Y]").astype(np.int64)) + 1970
        for of_one in (instants.min(), instants.max())
    ]
    first, last = years[0] - 1, min(years[1] + 2, _LAST_YEAR)
    starts = np.concatenate([_year(of, year) for year in range(first, last + 1)])
    return (datetime(first, 1, 1) - datetime(1970, 1, 1)).days, starts


@cache
def _year(of: str, year: int) -> Ints:
    """The first instant of each day of a year."""
    day, starts = datetime(year, 1, 1), []
    while day.year == year:
        starts.append(_first_instant(of, day))
        day += timedelta(days=1)
    return np.array(starts, np.int64)


def _first_instant(of: str, midnight: datetime) -> int:
    place = zone(of)
    instant = round(midnight.replace(tzinfo=place).timestamp())

    def has_begun(second: int) -> bool:
        return datetime.fromtimestamp(second, place).replace(tzinfo=None) >= midnight

    if has_begun(instant - 60) or not has_begun(instant):
        # The clocks skip midnight: its day begins where they arrive.
        instant = next(s for s in range(instant - 7_200, instant + 90_000, 60) if has_begun(s))
    return instant * 1_000
