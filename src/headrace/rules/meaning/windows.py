"""Windows in windows: when every event that counts in one counts in the other too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from headrace.clock import DAY, HOUR
from headrace.rules.model import Ever, Period, PeriodName, Span, Window, Within

_DAYS: Final[Mapping[PeriodName, int]] = {
    "today": 1, "this_week": 7, "this_month": 31, "this_year": 366,
}  # fmt: skip
_PARTS: Final = {
    ("today", "this_week"), ("today", "this_month"), ("today", "this_year"),
    ("this_month", "this_year"),
}  # fmt: skip
_SHORTEST_DAY: Final = 20 * HOUR
"""Clocks are put forward by an hour or two, never by four."""


def is_inside(narrow: Window, wide: Window) -> bool:
    """At every instant, does each event that counts in ``narrow`` count in ``wide``?

    An event at e counts within W by hops of h until the first multiple of h after e, plus W.
    The multiples of h after e lie up to h - gcd(h, H) beyond those of H: the tails' difference.
    """
    if narrow == wide:
        return True
    match narrow, wide:
        case (_, Ever()):
            return True
        case (Within(length, hop), Within(wide_length, wide_hop)):
            return length + hop - math.gcd(hop, wide_hop) <= wide_length
        case (Period(name, zone), Within(wide_length, _)):
            # Where clocks are put back a day is longer; no zone has put them back by a day.
            longest = _DAYS[name] * DAY + (0 if zone == "UTC" else DAY)
            return longest <= wide_length
        case (Period(name, zone), Period(wide_name, wide_zone)):
            return zone == wide_zone and (name, wide_name) in _PARTS
        case (Span(start, end), Span(wide_start, wide_end)):
            return start >= wide_start and (
                wide_end is None or (end is not None and end <= wide_end)
            )
        case _:
            return False


def most_days(window: Window, zone: str) -> int | None:
    """On how many days something may have counted at once; None for no limit."""
    match window:
        case Within(length, hop):
            # Tail and head may both cut into a day, the length between lies in whole ones.
            if zone == "UTC":
                return (length - 1) // DAY + 2
            return (length + hop) // _SHORTEST_DAY + 2
        case Period(name, period_zone):
            return _DAYS[name] + (0 if zone == period_zone else 2)
        case Span(start, end) if end is not None:
            if zone == "UTC":
                return (end - 1) // DAY - start // DAY + 1
            return (end - start) // _SHORTEST_DAY + 2
        case _:
            return None
