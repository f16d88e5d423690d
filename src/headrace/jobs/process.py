"""How every process of ours begins and ends."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from headrace.errors import HeadraceError


@dataclass(eq=False)
class LogFile:
    """Where log lines go. While its disk is full the work goes on; then it says how many are lost.

    Written without a buffer, which would keep what failed and fail again with every line.
    """

    descriptor: int
    lost: int = 0

    def write(self, text: str) -> None:
        """Append ``text``, whole lines; never raises for what only a log would miss."""
        if self.lost:
            text = json.dumps({"event": "log lines were lost", "count": self.lost}) + "\n" + text
        data = text.encode(errors="backslashreplace")
        try:
            while data:
                data = data[os.write(self.descriptor, data) :]
            self.lost = 0
        except OSError:
            self.lost += 1

    def flush(self) -> None:
        """Nothing waits."""


def run_process(work: Callable[[], int | None]) -> None:
    """Run ``work`` and exit: 0 well, 1 on what an operator can mend (a sentence), 2 on a crash.

    One JSON line per log entry, so that logs can be searched; they go to standard error.
    """
    log = LogFile(sys.stderr.fileno())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(log),  # type: ignore[arg-type]
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    try:
        code = work() or 0
    except HeadraceError as error:
        log.write(f"{error} [{error.code}]\n")
        code = 1
    except Exception:
        log.write(traceback.format_exc())
        code = 2
    try:
        sys.stdout.flush()
    except OSError as error:
        log.write(f"what was printed is lost: {error}\n")
        code = code or 1
    # Client libraries leave threads that may wait for servers that are gone.
    os._exit(code)
