"""Everything that grew in small pieces, rewritten when upkeep asks: one piece after each batch.

The stream keeps its tables small by itself, a bucket now and then. Asked to, it brings all of them
to their smallest: upkeep only deletes, since the stream is the one writer of its tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import SparkSession

from headrace.clock import Instant
from headrace.spark.files import read_text, remove, write_text
from headrace.spark.tables import Lake
from headrace.spark.upkeep import APPENDED, compact_bucket, merge_small_files

ASKED = "_rewrite.asked"


def ask(spark: SparkSession, lake: Lake) -> None:
    """Ask the stream for a rewrite; to ask twice is to ask once."""
    write_text(spark, lake.path(ASKED), "")


@dataclass(slots=True)
class Rewrite:
    """What is left of one: buckets of ``profiles`` and tables whose files are to be merged."""

    buckets: list[int]
    tables: list[str]

    @staticmethod
    def asked(spark: SparkSession, lake: Lake, buckets: int) -> Rewrite | None:
        """A whole one if somebody has asked; one that was cut off begins anew."""
        if read_text(spark, lake.path(ASKED)) is None:
            return None
        return Rewrite(list(range(buckets)), list(APPENDED))

    def step(self, spark: SparkSession, lake: Lake, *, now: Instant, horizon_ms: int) -> bool:
        """Do one piece; True when it was the last."""
        if self.buckets:
            compact_bucket(spark, lake, bucket=self.buckets.pop(), now=now, horizon_ms=horizon_ms)
        else:
            merge_small_files(spark, lake, self.tables.pop())
        if self.buckets or self.tables:
            return False
        remove(spark, lake.path(ASKED))
        return True
