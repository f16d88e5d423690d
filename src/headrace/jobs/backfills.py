"""The history being read for new versions, as a row of the progress table."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from headrace.jobs.target import JOB
from headrace.plan.model import Plan
from headrace.spark.course import Report
from headrace.store import Store
from headrace.store.progress import State

# What is left when all is read: the batch that takes over.
NEARLY = 99


@dataclass(slots=True)
class BackfillRow:
    """Follows the backfill under way, batch by batch: one row per plan and life of the job.

    A batch that could not be told of, Postgres being away, is made up for by the next.
    """

    store: Store
    plan: Callable[[str], Plan]
    _id: int | None = None
    _building: str | None = None
    _has_looked: bool = False

    def follow(self, done: Report) -> None:
        """Let the row say what is so after a batch."""
        if not self._has_looked:
            self._close_earlier(done)
        if self._id is not None and done.pending_plan != self._building:
            self._close(self._id, done)
        if done.pending_plan is not None and self._id is None:
            self._begin(done.header.plan, done.pending_plan)
        if self._id is not None:
            percent = min(NEARLY, int(100 * (done.built or 0.0)))
            self.store.note_progress(self._id, {"percent": percent})

    def _begin(self, running: str, pending: str) -> None:
        before = self.plan(running).versions
        wanted = self.plan(pending).versions
        new = {name: number for name, number in wanted.items() if before.get(name) != number}
        details = {"plan": pending, "percent": 0, "segments": new}
        row = self.store.begin_progress(JOB, "backfill", plan_hash=pending, details=details)
        self._id, self._building = row, pending
        self.store.started(row, pid=os.getpid(), details={})

    def _close(self, row: int, done: Report) -> None:
        """The plan that was prepared for runs now, or is wanted no more."""
        if done.header.plan == self._building:
            self.store.note_progress(row, {"percent": 100})
            self.store.end_progress(row, "done")
        else:
            self.store.end_progress(row, "stopped")
        self._id = self._building = None

    def _close_earlier(self, done: Report) -> None:
        """An earlier life of the job may have died before it could."""
        for left in self.store.live_progress(JOB, kind="backfill"):
            state: State = "done" if left.plan_hash == done.header.plan else "lost"
            self.store.end_progress(left.id, state)
        self._has_looked = True
