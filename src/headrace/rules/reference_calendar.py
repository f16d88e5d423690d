"""The oracle's calendar: by looking at the clock on the wall, minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from headrace.clock import DAY, HOUR, MINUTE, zone
from headrace.rules.model import PeriodName


def period_start(name: PeriodName, of: str, at: int) -> int:
    """The first instant of the day, week, month or year of zone ``of`` that holds ``at``."""
    day = local_day(of, at)
    match name:
        case "today":
            first = day
        case "this_week":
            first = day - timedelta(days=day.weekday())
        case "this_month":
            first = day.replace(day=1)
        case "this_year":
            first = day.replace(month=1, day=1)
    return day_start(of, first)


def period_end(name: PeriodName, of: str, at: int) -> int:
    """The first instant after the period that holds ``at``."""
    day = local_day(of, period_start(name, of, at))
    while day_start(of, day) <= at or period_start(name, of, day_start(of, day)) <= at:
        day += timedelta(days=1)
    return day_start(of, day)


@cache
def local_day(of: str, at: int) -> date:
    """The day of zone ``of`` that holds ``at``: the latest one that has begun."""
    seen = _wall(zone(of), at).date()
    days = (seen + timedelta(days=step) for step in (2, 1, 0, -1, -2))
    return next(day for day in days if day_start(of, day) <= at)


@cache
def day_start(of: str, day: date) -> int:
    """The first instant at which the wall's clock shows ``day``, or a later one."""
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000
    instant = midnight - DAY - 4 * HOUR
    for step in (HOUR, MINUTE):
        while _wall(zone(of), instant + step).date() < day:
            instant += step
    return instant + MINUTE


def _wall(of: ZoneInfo, at: int) -> datetime:
    return datetime.fromtimestamp(at // 1_000, of)
