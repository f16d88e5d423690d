"""The lock on a home's tables: one streaming job writes them, and who is next waits for it.

The kernel gives the lock back with the process that held it, however that ended. The driver holds
it, but its JVM, in which Spark runs, may live a moment longer: whoever comes next ends that first.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from headrace.errors import OperatorError

# A JVM whose driver is gone ends by itself within moments.
JVM_SECONDS = 2.0


@dataclass(slots=True)
class TableLock:
    """The lock of ``home``: free, or held by this process until it ends."""

    home: Path
    _file: int | None = field(default=None, init=False)

    def require(self) -> None:
        """Hold the lock; OperatorError when another process does."""
        if not self.is_held():
            raise OperatorError(
                f"another streaming job writes the tables under {self.home}", code="HR913"
            )

    def is_held(self) -> bool:
        """Does this process hold the lock, or can it have it now?"""
        if self._file is not None:
            return True
        self.home.mkdir(parents=True, exist_ok=True)
        file = os.open(self.home / "stream.lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        _end_former(file)
        mine = psutil.Process()
        told = {"jvm": mine.ppid(), "started": psutil.Process(mine.ppid()).create_time()}
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(told).encode(), 0)
        self._file = file
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _end_former(file: int) -> None:
    """The JVM of whoever held the lock before: gone when this returns."""
    with suppress(psutil.Error, ValueError, KeyError, TypeError):
        told = json.loads(os.pread(file, 4_096, 0))
        jvm = psutil.Process(told["jvm"])
        is_mine = jvm.pid == os.getppid()
        if is_mine or abs(jvm.create_time() - told["started"]) > 1 or "java" not in jvm.name():
            return
        with suppress(psutil.TimeoutExpired):
            jvm.wait(JVM_SECONDS)
        if jvm.is_running():
            jvm.kill()
            jvm.wait(JVM_SECONDS)
