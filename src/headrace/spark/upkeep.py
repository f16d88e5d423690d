"""Step 5 of a batch: keep the tables small. Runs between batches, in the stream's own process.

Every write here uses a session without a batch's transaction id: under one, Delta would skip it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from headrace.engine.compact import compact
from headrace.failpoints import reach
from headrace.spark.files import names
from headrace.spark.fold import STATE, STATE_COLUMNS
from headrace.spark.session import plain_session
from headrace.spark.tables import TABLES, Lake

# Two tasks for two cores: one bucket of a million users compacts in under 2 s.
COMPACTION_TASKS = 2
# Tables that batches only add to, a file or some each.
APPENDED = ("events", "transitions", "quarantine", "identities", "tombstones")


def compact_bucket(
    spark: SparkSession,
    lake: Lake,
    *,
    bucket: int,
    now: int,
    horizon_ms: int,
    gone_until: int = -1,
) -> int:
    """Merge each user's rows of ``bucket`` into one: newest state, all live event ids.

    Of users who were gone after a batch up to ``gone_until`` nothing stays. Gives how many ids
    were let go for newer ones; a task that Spark runs twice counts them twice.
    """
    session = plain_session(spark)
    lost = session.sparkContext.accumulator(0)

    def compact_group(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = list(batches)
        if not parts:
            return
        reach("mid-compaction")
        rows = compact(
            pa.Table.from_batches(parts), now=now, horizon_ms=horizon_ms, gone_until=gone_until
        )
        lost.add(pc.sum(rows["ids_lost"]).as_py() or 0)
        yield from rows.select(STATE_COLUMNS).to_batches()

    # A hash of another seed than the bucket's: within a bucket that one leaves nothing to split by.
    half = F.pmod(F.hash("user_id"), F.lit(COMPACTION_TASKS)).cast("int")
    (
        lake.read(session, "profiles")
        .where(F.col("bucket") == bucket)
        .select(*STATE_COLUMNS)
        .repartitionById(COMPACTION_TASKS, half)
        .mapInArrow(compact_group, STATE)
        .withColumn("bucket", F.lit(bucket))
        .write.format("delta")
        .mode("overwrite")
        .option("replaceWhere", f"bucket = {bucket}")
        # Readers of the table's changes see nothing new: the same state in fewer rows.
        .option("dataChange", "false")
        .save(lake.path("profiles"))
    )
    return int(lost.value)


def merge_small_files(spark: SparkSession, lake: Lake, name: str) -> None:
    """Bin-pack the files of an append-only table."""
    lake.delta(plain_session(spark), name).optimize().executeCompaction()


def vacuum_tables(spark: SparkSession, lake: Lake) -> None:
    """In each table, delete files that no version within its declared retention refers to.

    The stream does so now and then, since its tables must stay small where nothing else runs; so
    does the nightly upkeep, since a stream that stands still deletes nothing. Both at once is as
    good as one: a file that is gone is gone.
    """
    session = plain_session(spark)
    there = [name for name in TABLES if names(session, f"{lake.path(name)}/_delta_log")]
    with ThreadPoolExecutor(max_workers=len(TABLES)) as pool:
        # Each waits for Spark's planner more than for a core.
        list(pool.map(lambda name: lake.delta(session, name).vacuum(), there))
