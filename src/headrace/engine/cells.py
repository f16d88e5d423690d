"""Cells of files for other programs: text that stays text."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

FORMULA: Final = r"^(?!-[0-9.]+$)[=+\-@\t\r]"
"""A cell that begins so is a formula to a spreadsheet, whoever wrote it; a negative number is not.

Read alike by Python and by Java.
"""
_IS_FORMULA = re.compile(FORMULA)


def as_text(value: Any) -> str | None:
    """A trait's value: texts as they are, anything else as JSON."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def neutral(cell: str) -> str:
    """The cell as text to a spreadsheet too: an apostrophe before what it would compute."""
    return f"'{cell}" if _IS_FORMULA.match(cell) else cell
