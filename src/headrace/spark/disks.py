"""What a full disk is called, and which one it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from headrace.errors import OperatorError

FULL = ("No space left on device", "Disk quota exceeded")
MIB = 1 << 20


def disk_full(text: str, places: Sequence[str]) -> OperatorError | None:
    """The error for a person when ``text``, of a failure, says that a disk is full.

    It names the one of ``places`` (folders or URLs) with the least room.
    """
    if not any(sign in text for sign in FULL):
        return None
    free = {place: room for place in places if (room := _free(place)) is not None}
    place = min(free, key=lambda one: free[one], default=", ".join(places))
    left = f" ({free[place] / MIB:.0f} MiB left)" if place in free else ""
    return OperatorError(
        f"no space left{left} on the disk of {place}: nothing is lost, batches are whole or not"
        " there; make room, and the stream goes on where it was (docs/runbooks/disk-full.md)",
        code="HR925",
    )


def _free(place: str) -> int | None:
    """Bytes left where ``place`` lies on this machine; None elsewhere."""
    folder = Path(place.removeprefix("file:"))
    existing = next((one for one in (folder, *folder.parents) if one.exists()), None)
    if "://" in place or existing is None:
        return None
    return shutil.disk_usage(existing).free
