"""A new version that needs history: a backfill, then one batch that takes over."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.plan.model import Plan
from headrace.spark.files import names, remove
from headrace.spark.fold import groups_for, kernel_events, staged
from headrace.spark.identities import Known, identified
from headrace.spark.session import plain_session
from headrace.spark.tables import Lake
from headrace.spark.work import Work

STAGING = re.compile(r"staging_[0-9a-f]{16}_\d+")


@dataclass(slots=True)
class Backfill:
    """The tiles of ``slots`` from all events before batch ``before``, written to a staging table.

    ``now`` is that of the batch before: facts ahead of it are left to the rows they wait in.
    Runs in a thread of the driver; Spark shares the cores. The table's name says what it holds,
    so an interrupted backfill is found finished or written anew. Identities stand still until
    the hand-over: see `Header.linked`.
    """

    plan: Plan
    slots: frozenset[int]
    before: int
    now: int
    tombstone_key: str
    failure: BaseException | None = None
    _done: threading.Event = field(default_factory=threading.Event)
    _work: Work | None = None

    @property
    def table(self) -> str:
        """The staging table of this backfill."""
        return staging_table(self.plan.hash, self.before)

    @property
    def is_done(self) -> bool:
        """Has it ended, well or not? Raises the failure it ended with."""
        if self.failure is not None:
            raise self.failure
        return self._done.is_set()

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1: by tasks, so a guess until it is over."""
        if self._done.is_set():
            return 1.0
        return self._work.share if self._work is not None else 0.0

    def start(self, spark: SparkSession, lake: Lake) -> None:
        """Begin in the background, unless an earlier life of the job already finished it."""
        session = plain_session(spark)
        if DeltaTable.isDeltaTable(session, lake.path(self.table)):
            self._done.set()
            return
        self._work = work = Work(session, self.table)
        threading.Thread(
            target=self._run, args=(session, lake, work), name="backfill", daemon=True
        ).start()

    def _run(self, spark: SparkSession, lake: Lake, work: Work) -> None:
        try:
            work.begin()
            history = lake.read(spark, "events").where(
                (F.col("n") < self.before) & (F.col("verdict") == "accepted")
            )
            facts = kernel_events(history, self.plan.event_types)
            known = Known.of(spark, lake)
            groups = groups_for(history.count(), self.plan.job.buckets)
            # As many tasks to bring users together as to count them, then one for each group.
            work.foresee(2 * work.tasks + groups)
            rows = staged(
                identified(spark, facts, lake, known, self.tombstone_key),
                plan=self.plan,
                slots=self.slots,
                now=self.now,
                n=self.before,
                groups=groups,
            )
            rows.write.format("delta").mode("overwrite").save(lake.path(self.table))
            self._done.set()
        except Exception as failure:  # handed to the stream's thread, which raises it
            self.failure = failure


def staging_table(plan: str, before: int) -> str:
    """The table of what was before batch ``before``, for the plan of that hash."""
    return f"staging_{plan[:16]}_{before}"


def staging(spark: SparkSession, lake: Lake, table: str) -> DataFrame:
    """The rows of a finished backfill."""
    return lake.read(spark, table)


def drop_stagings(spark: SparkSession, lake: Lake) -> None:
    """Remove the tables of all backfills; call it while none is under way."""
    for name in names(spark, lake.root):
        if STAGING.fullmatch(name):
            remove(spark, lake.path(name))
