"""The streaming job as a process of this machine: at most one per home, whoever started it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from headrace.embedded.children import Children, Record

PREFIX = "stream-"
SCRIPT = "run_stream.py"
# What a JVM needs to run its shutdown hooks.
JVM_PATIENCE = 5.0


@dataclass(slots=True)
class Writer:
    """One launch of the streaming job. ``process`` is None when an earlier runtime launched it."""

    launch: int
    record: Record
    since: float
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_alive(self) -> bool:
        """Does the process of the launch still run?"""
        if self.process is not None:
            return self.process.poll() is None
        return self.record.is_alive

    @property
    def exit_code(self) -> int | None:
        """How it ended, if we are its parent; the number of a signal is negative."""
        return self.process.returncode if self.process is not None else None


class Writers:
    """Launches, finds and ends the streaming jobs of one home."""

    def __init__(self, home: Path, *, patience: float) -> None:
        self._run = home / "run"
        self._children = Children(home)
        self._patience = patience

    def start(self, launch: int, command: Sequence[str], *, cwd: Path) -> Writer:
        """Start launch number ``launch``; its log is ``logs/stream-<launch>.log``."""
        record, process = self._children.start(f"{PREFIX}{launch}", command, cwd=cwd)
        return Writer(launch, record, time.monotonic(), process)

    def end(self, writer: Writer) -> None:
        """End a launch and whatever it left behind; harmless when there is nothing.

        The driver is asked first: it ends between two batches and takes the JVM that launched it
        along, while a JVM told to go tears Spark away from under a running batch.
        """
        if writer.is_alive and (drivers := _drivers(writer)):
            for driver in drivers:
                with suppress(psutil.Error):
                    driver.terminate()
            deadline = time.monotonic() + self._patience
            while writer.is_alive and time.monotonic() < deadline:
                time.sleep(0.05)
        if writer.process is not None and writer.is_alive:
            # Waited for here and not by psutil, which would lose the exit code.
            writer.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                writer.process.wait(JVM_PATIENCE)
            if writer.is_alive:
                writer.process.kill()
                writer.process.wait()
        self._children.stop(f"{PREFIX}{writer.launch}", patience=JVM_PATIENCE)

    def found(self) -> list[Writer]:
        """Every launch that has a record, dead or alive, oldest first."""
        launches = sorted(
            int(number)
            for file in self._run.glob(f"{PREFIX}*.json")
            if (number := file.stem.removeprefix(PREFIX)).isdecimal()
        )
        records = [(launch, self._children.record(f"{PREFIX}{launch}")) for launch in launches]
        now = time.monotonic()
        return [Writer(launch, record, now) for launch, record in records if record is not None]


def _drivers(writer: Writer) -> list[psutil.Process]:
    """The Python process of the job, where spark-submit has started one on this machine."""
    process = writer.record.process()
    if process is None:
        return []
    found = []
    with suppress(psutil.Error):
        for child in process.children(recursive=True):
            with suppress(psutil.Error):
                if any(Path(word).name == SCRIPT for word in child.cmdline()):
                    found.append(child)
    return found
