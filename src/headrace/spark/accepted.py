"""Step 4 of a batch, for other systems: the accepted events of types they asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.identity import FORGOTTEN
from headrace.failpoints import reach
from headrace.spark.commits import Commit
from headrace.spark.identities import Known, identified
from headrace.spark.tables import Lake

COLUMNS = ("event_id", "user_id", "sent_id", "type", "ts", "properties", "n", "at")
PLACE = ["topic", "partition", "offset"]
PLACES = "array<struct<topic: string, partition: int, offset: bigint>>"


def publish_accepted(
    spark: SparkSession,
    lake: Lake,
    parsed: Commit,
    folded: Commit,
    *,
    types: tuple[str, ...],
    known: Known,
    secret: str,
    send: Callable[[Iterator[pa.RecordBatch]], int],
) -> int:
    """Send on the batch's events of ``types`` that count, as they were mapped and enriched.

    Repeats stay behind, and what is forgotten; users go by their canonical ids. ``send`` gets
    COLUMNS within Spark's tasks and says how many it sent; the sum comes back.
    """
    rows = parsed.read(spark, lake, "events", verdict="accepted")
    arrived = rows.where(F.col("type").isin(*types)).withColumn("sent_id", F.col("user_id"))
    fresh = arrived.join(_repeats(spark, lake, folded), PLACE, "left_anti")
    named = identified(spark, fresh, lake, known, secret).where(F.col("type") != FORGOTTEN)

    def send_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sent = send(batches)
        reach("mid-accepted")
        yield pa.record_batch({"sent": pa.array([sent], pa.int64())})

    sent = named.select(*COLUMNS).mapInArrow(send_all, "sent bigint").agg(F.sum("sent"))
    return int(sent.collect()[0][0] or 0)


def _repeats(spark: SparkSession, lake: Lake, folded: Commit) -> DataFrame:
    """Where the repeats among the batch's events lay, as the kernel judged them."""
    named = folded.read(spark, lake, "profiles").where("repeated IS NOT NULL")
    places = named.select(F.inline(F.from_json("repeated", PLACES)))
    return F.broadcast(places)
