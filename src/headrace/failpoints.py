"""Places at which a process can be made to die, to show that nothing is lost when one does.

With HEADRACE_FAILPOINTS naming a folder, a process that reaches a place of which a file lies there
takes the file away and kills its whole session, as a machine that loses power would. Without
the variable, as everywhere but in tests, a place costs one look at the environment.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Literal

VARIABLE = "HEADRACE_FAILPOINTS"

Failpoint = Literal[
    "before-events", "after-events",
    "after-identities",
    "before-profiles", "after-profiles",
    "mid-publish", "mid-accepted", "after-publish",
    "before-activation-marker", "after-activation-marker",
    "mid-backfill",
    "mid-compaction",
    "loader-after-apply", "loader-before-activation", "loader-before-new-generation",
]  # fmt: skip
"""The steps of a batch, of its upkeep, and of the loader, around what they commit."""


def reach(place: Failpoint) -> None:
    """Die here if somebody asked for it."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        return
    try:
        (Path(folder) / place).unlink()
    except FileNotFoundError:
        return
    mine = os.getsid(0)
    others = (int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit())
    for pid in [*(pid for pid in others if pid != os.getpid()), os.getpid()]:
        try:
            if os.getsid(pid) == mine:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
