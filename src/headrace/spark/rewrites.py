"""Everything that grew in small pieces, rewritten when upkeep asks: one piece after each batch.

The stream keeps its tables small by itself, a bucket now and then. Asked to, it brings all of them
to their smallest: upkeep only deletes, since the stream is the one writer of its tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyspark.sql import SparkSession

from headrace.clock import Instant
from headrace.plan.model import JobParameters
from headrace.spark.files import read_text, remove, write_text
from headrace.spark.tables import Lake
from headrace.spark.upkeep import APPENDED, compact_bucket, merge_small_files

ASKED = "_rewrite.asked"
LOOK_MS = 30_000  # between two looks for whether somebody asks


def ask(spark: SparkSession, lake: Lake) -> None:
    """Ask the stream for a rewrite; to ask twice is to ask once."""
    write_text(spark, lake.path(ASKED), "")


@dataclass(slots=True)
class Rewrites:
    """What is left of the one under way: buckets of ``profiles``, and tables to be merged."""

    buckets: list[int] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    looked_at: Instant = 0

    def after_batch(
        self, spark: SparkSession, lake: Lake, job: JobParameters, now: Instant
    ) -> None:
        """Do one piece of what is asked for; one that was cut off begins anew."""
        if self.buckets:
            compact_bucket(
                spark, lake, bucket=self.buckets.pop(), now=now, horizon_ms=job.horizon_ms
            )
        elif self.tables:
            merge_small_files(spark, lake, self.tables.pop())
            if not self.tables:
                remove(spark, lake.path(ASKED))
        elif now - self.looked_at >= LOOK_MS:
            # By time: batches in which nothing happens do not count, and fill whole nights.
            self.looked_at = now
            if read_text(spark, lake.path(ASKED)) is not None:
                self.buckets, self.tables = list(range(job.buckets)), list(APPENDED)
