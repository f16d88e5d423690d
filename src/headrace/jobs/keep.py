"""Upkeep of what only grows: files no table needs, old evaluations, logs and runs.

Everything here only deletes, and deletes the same when it is told again. The stream is asked to
rewrite what has grown in small pieces: it is the one writer of its tables.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from headrace.clock import DAY, SECOND, Instant, system_clock
from headrace.jobs.runs import Note, run_once
from headrace.settings import Settings
from headrace.spark.evaluations import forget_members
from headrace.spark.rewrites import ask
from headrace.spark.session import open_session
from headrace.spark.tables import Lake
from headrace.spark.upkeep import vacuum_tables
from headrace.store import Store

EVALUATIONS_DAYS = 30  # a month back, "what did last month's run say?" has an answer
LOGS_DAYS = 14  # of processes that have ended: a live one writes all the time
RUNS_DAYS = 90  # a run that is cleared later than this is done again


def run(settings: Settings, *, run_id: str | None = None) -> int:
    """Vacuum every table within its declared retention, and forget what is older than it may be."""
    return run_once(
        settings, "upkeep", run_id, lambda note: _keep(settings, note, now=system_clock())
    )


def _keep(settings: Settings, note: Note, *, now: Instant) -> None:
    old = [*_older(settings.home / "evaluations", "*", now - EVALUATIONS_DAYS * DAY)]
    old += _older(settings.home / "quality", "*.html", now - EVALUATIONS_DAYS * DAY)
    old += _older(settings.home / "logs", "stream-*.log", now - LOGS_DAYS * DAY)
    for path in old:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        runs = store.forget_progress(timedelta(days=RUNS_DAYS))
    finally:
        store.close()
    spark = open_session("headrace-upkeep")
    lake = Lake(settings.tables_root)
    forget_members(spark, lake, before=now - EVALUATIONS_DAYS * DAY)
    began = time.monotonic()
    vacuum_tables(spark, lake)
    ask(spark, lake)
    seconds = round(time.monotonic() - began, 1)
    note({"files": len(old), "runs": runs, "vacuum_seconds": seconds})
    print(f"removed {len(old)} old files and folders, {runs} old runs; vacuum took {seconds} s")


def _older(folder: Path, pattern: str, than: Instant) -> Iterator[Path]:
    for path in folder.glob(pattern):
        if path.stat().st_mtime * SECOND < than:
            yield path
