"""The line of a log that says why its process failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import orjson

# As much of the end as is looked at, and as much of the line as is shown.
TAIL_BYTES = 64 << 10
SHOWN = 300

# A sentence of ours with its code; an exception as Python and Java print it.
TELLING = re.compile(r"\[HR\d{3}\]$|^(?:Caused by: )?[\w.$]*(?:Error|Exception|Interrupt)\b")
GRAVE = ("error", "critical")


def last_error(log: Path | str) -> str:
    """The last line of ``log`` that tells of an error, else its last line; "" without any."""
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = [text for line in file if (text := line.decode(errors="replace").strip())]
    except OSError:
        return ""
    telling = next(_telling(lines), lines[-1] if lines else "")
    return telling if len(telling) <= SHOWN else f"{telling[:SHOWN]}…"


def _telling(lines: list[str]) -> Iterator[str]:
    for line in reversed(lines):
        if line.startswith("{"):
            entry = _entry(line)
            if entry.get("level") in GRAVE:
                yield ": ".join(str(entry[key]) for key in ("event", "error") if key in entry)
        elif TELLING.search(line):
            yield line


def _entry(line: str) -> dict[str, object]:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return entry if isinstance(entry, dict) else {}
