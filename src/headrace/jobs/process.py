"""How every process of ours begins and ends."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable

import structlog

from headrace.errors import HeadraceError


def run_process(work: Callable[[], int | None]) -> None:
    """Run ``work`` and exit: 0 well, 1 on what an operator can mend (a sentence), 2 on a crash.

    One JSON line per log entry, so that logs can be searched; they go to standard error.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    try:
        code = work() or 0
    except HeadraceError as error:
        print(f"{error} [{error.code}]", file=sys.stderr, flush=True)
        code = 1
    except Exception:
        traceback.print_exc()
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    # Client libraries leave threads that may wait for servers that are gone.
    os._exit(code)
