"""Cron lines: five fields of numbers, in ranges, lists and steps."""

from __future__ import annotations

import re
from typing import Final

FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),  # Sunday is 0 and 7
)
NUMBER: Final = "[0-9]{1,2}"
PART: Final = rf"(?:\*|{NUMBER}(?:-{NUMBER})?)(?:/{NUMBER})?"
FIELD: Final = rf"{PART}(?:,{PART})*"
_PART: Final = re.compile(rf"(?:\*|({NUMBER})(?:-({NUMBER}))?)(?:/({NUMBER}))?")
EXAMPLE: Final = "'0 3 * * 1' is every Monday at 3:00"


def is_cron(text: str) -> bool:
    """Does ``text`` mean to be a cron line?"""
    fields = text.split()
    return len(fields) > 1 or bool(fields and re.search(r"[*/0-9@]", fields[0]))


def cron_fault(text: str) -> str:
    """What is wrong with the cron line ``text``, in words; nothing when it is sound."""
    fields = text.split()
    if len(fields) != len(FIELDS):
        return f"{len(fields)} fields, not {len(FIELDS)}"
    for field, (name, low, high) in zip(fields, FIELDS, strict=True):
        for part in field.split(","):
            fault = _fault(part, low, high)
            if fault:
                return f"{fault} as {name}"
    return ""


def _fault(part: str, low: int, high: int) -> str:
    found = _PART.fullmatch(part)
    if found is None:
        return f"{part!r} is not *, a number or a range"
    first, last, step = (int(text) if text is not None else None for text in found.groups())
    for number in (first, last):
        if number is not None and not low <= number <= high:
            return f"{number} is not from {low} to {high}"
    if first is not None and last is not None and last < first:
        return f"the range {part!r} ends before it begins"
    if step is not None and not 1 <= step <= high:
        return f"the step of {part!r} is not from 1 to {high}"
    if step is not None and first is not None and last is None:
        return f"the step of {part!r} needs a range"
    return ""
