"""Physical removal of the forgotten, in rounds: rows out of every table, then files by VACUUM.

What is large is rewritten beside the batches, in a thread of the driver; what batches rewrite too
is rewritten between them, a bucket of ``profiles`` at a time and ``identities`` at the end.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from headrace.clock import HOUR, Instant
from headrace.plan.model import JobParameters
from headrace.spark.erased import Erased
from headrace.spark.header import Header
from headrace.spark.removal import Removal, forget_links
from headrace.spark.session import plain_session
from headrace.spark.tables import Lake
from headrace.spark.upkeep import compact_bucket, vacuum_tables

# Rows wait for a round, their files seven days, and those for the next round's VACUUM: with eight
# hours twice that is under the eight days promised.
EVERY = 8 * HOUR


@dataclass(slots=True)
class Erasure:
    """One round under way: what deletions carried out up to batch ``n`` took.

    ``buckets`` of profiles are still to be compacted.
    """

    n: int
    began: Instant
    buckets: list[int]
    _failure: BaseException | None = None
    _done: threading.Event = field(default_factory=threading.Event)

    def start(self, spark: SparkSession, lake: Lake, secret: str) -> None:
        """Begin with the large tables, in the background."""
        thread = threading.Thread(
            target=self._run, args=(plain_session(spark), lake, secret), name="erasure", daemon=True
        )
        thread.start()

    def _run(self, spark: SparkSession, lake: Lake, secret: str) -> None:
        try:
            Removal(spark, lake, secret, self.n).run()
            vacuum_tables(spark, lake)
        except Exception as failure:  # handed to the stream's thread, which raises it
            self._failure = failure
        self._done.set()

    @property
    def is_done(self) -> bool:
        """Has the background ended, well or not? Raises the failure it ended with."""
        if self._failure is not None:
            raise self._failure
        return self._done.is_set()


@dataclass(slots=True)
class Rounds:
    """The newest round that has ended, and the one under way."""

    ended: Erased | None = None
    under_way: Erasure | None = None

    def after_batch(
        self, spark: SparkSession, lake: Lake, header: Header, job: JobParameters, secret: str
    ) -> None:
        """Begin a round if it is time, or go one step on with the one under way."""
        if self.ended is None:
            self.ended = Erased.read(spark, lake) or _none_yet(spark, lake)
        erasure = self.under_way
        if erasure is None:
            if header.now - self.ended.began >= EVERY:
                if self.ended.n < 0:
                    self.ended.write(spark, lake)  # from now on joins and deletions may be missing
                self.under_way = Erasure(header.linked, header.now, list(range(job.buckets)))
                self.under_way.start(spark, lake, secret)
        elif erasure.buckets:
            compact_bucket(
                spark,
                lake,
                bucket=erasure.buckets.pop(),
                now=header.now,
                horizon_ms=job.horizon_ms,
                gone_until=erasure.n,
            )
        elif erasure.is_done:
            forget_links(plain_session(spark), lake, n=erasure.n)
            self.ended = Erased(erasure.n, erasure.began, header.now)
            self.ended.write(spark, lake)
            self.under_way = None


def _none_yet(spark: SparkSession, lake: Lake) -> Erased:
    """Nothing was ever removed: time runs from the first deletion on."""
    first: Instant = lake.read(spark, "tombstones").agg(F.min("at")).collect()[0][0]
    return Erased(-1, first, first)
