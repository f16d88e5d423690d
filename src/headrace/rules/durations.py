"""Lengths of time as people write them: ``30 days``, ``30d``, ``1 hour``."""

from __future__ import annotations

import re

from headrace.clock import DAY, HOUR, MINUTE, SECOND

_SPELLINGS = {
    SECOND: ("s", "sec", "secs", "second", "seconds"),
    MINUTE: ("m", "min", "mins", "minute", "minutes"),
    HOUR: ("h", "hr", "hrs", "hour", "hours"),
    DAY: ("d", "day", "days"),
    7 * DAY: ("w", "week", "weeks"),
}
_UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}
_PRINTED = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second"))

LONGEST = 36_525 * DAY  # a century: longer is a slip of the pen, and tiles stay within 32 bits


def parse_duration(text: str) -> int:
    """Milliseconds of ``text``; ValueError says what is wrong with it."""
    found = re.fullmatch(r"([0-9]{1,12})\s*([A-Za-z]+)", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a length of time such as '30 days' or '12h'")
    unit = _UNITS.get(found[2].lower())
    if unit is None:
        raise ValueError(f"{text!r} has no unit we know: seconds, minutes, hours, days, weeks")
    length = int(found[1]) * unit
    if length > LONGEST:
        raise ValueError(f"{text!r} is longer than a century")
    return length


def format_duration(length: int) -> str:
    """The canonical spelling, in the largest unit that divides ``length`` (at most days)."""
    for unit, name in _PRINTED:
        if length % unit == 0 and (length or unit == SECOND):
            count = length // unit
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    raise ValueError(f"{length} ms is not a whole number of seconds")
