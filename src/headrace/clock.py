"""Instants: UTC milliseconds since 1970. The clock is read at the edges and handed down."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TypeAlias
from zoneinfo import ZoneInfo

Instant: TypeAlias = int
Clock: TypeAlias = Callable[[], Instant]

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?", re.ASCII
)


def system_clock() -> Instant:
    """The machine's time now."""
    return time.time_ns() // 1_000_000


def parse_instant(text: str) -> Instant:
    """An RFC 3339 instant, or a bare date (midnight UTC), as milliseconds; finer parts are cut.

    Raises ValueError for anything else; an instant without an offset is refused.
    """
    if _RFC_3339.fullmatch(text) is None:  # fromisoformat knows many more forms
        raise ValueError(f"{text!r} is no instant such as 2026-01-31T09:00:00Z")
    moment = datetime.fromisoformat(text.upper())
    return round_down(moment if len(text) > 10 else moment.replace(tzinfo=UTC))


def round_down(moment: datetime) -> Instant:
    """Whole milliseconds of an aware datetime, exactly (no float)."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def format_instant(instant: Instant) -> str:
    """RFC 3339 in UTC, with milliseconds only when there are any."""
    seconds, millis = divmod(instant, 1_000)
    text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]  # a third of strftime's time
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


@cache
def zone(name: str) -> ZoneInfo:
    """The time zone of that name, from our own pinned tzdata, whatever the machine's says.

    Raises ValueError for an unknown name.
    """
    if name not in zones():
        raise ValueError(f"unknown timezone {name!r}")
    with resources.files("tzdata.zoneinfo").joinpath(name).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


@cache
def zones() -> frozenset[str]:
    """The names of all time zones."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split())
