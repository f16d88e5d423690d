"""On what, of which commit and when figures were measured, for the pages that show them."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]


def circumstances() -> str:
    """Machine, date and commit in a line of Markdown."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"**Machine**: {machine()}. **Date**: {now}, commit {commit()}."


def machine() -> str:
    """The machine in a line."""
    memory = psutil.virtual_memory().total / 2**30
    name = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    return f"{os.cpu_count()} cores ({name}), {memory:.0f} GiB"


def commit() -> str:
    """The commit of the working tree, and whether it has been changed since."""
    words = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
