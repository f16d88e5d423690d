"""What batch evaluations found: members by segment and instant, in a table of their own."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.spark.session import plain_session
from headrace.spark.tables import Lake, TableName

TABLE: TableName = "batch_members"


def keep_members(
    members: DataFrame, lake: Lake, *, segments: Sequence[str], at: int, n: int
) -> None:
    """Let ``members`` (segment, user_id) stand as what ``segments`` held at instant ``at``.

    One commit for all of them; told again it comes to the same. ``n`` is the newest batch whose
    events were known. A row without a user says of each segment that it was evaluated: nobody in
    it is another answer than none.
    """
    session = plain_session(members.sparkSession)
    lake.complete(session, TABLE)
    named = F.explode(F.array(*(F.lit(segment) for segment in segments)))
    evaluated = members.sparkSession.range(1).select(
        named.alias("segment"), F.lit(None).cast("string").alias("user_id")
    )
    rows = members.select("segment", "user_id").unionByName(evaluated)
    listed = ", ".join(f"'{segment}'" for segment in segments)
    about = (F.lit(number).cast("long").alias(name) for name, number in (("at", at), ("n", n)))
    (
        rows.select("user_id", "segment", *about)
        .repartition("segment")
        .write.format("delta")
        .mode("overwrite")
        .option("replaceWhere", f"at = {at} AND segment IN ({listed})")
        .save(lake.path(TABLE))
    )


def kept_members(spark: SparkSession, lake: Lake) -> DataFrame:
    """Members (segment, at, user_id) of each segment's newest evaluation."""
    rows = lake.read(spark, TABLE)
    newest = rows.groupBy("segment").agg(F.max("at").alias("at"))
    return (
        rows.join(F.broadcast(newest), ["segment", "at"])
        .where("user_id IS NOT NULL")
        .select("segment", "at", "user_id")
    )


def forget_members(spark: SparkSession, lake: Lake, *, before: int) -> None:
    """Drop evaluations of instants earlier than ``before``, but of no segment its newest."""
    session = plain_session(spark)
    lake.complete(session, TABLE)
    rows = lake.read(session, TABLE)
    old = (
        rows.groupBy("segment")
        .agg(F.max("at").alias("newest"), F.collect_set("at").alias("instants"))
        .select("segment", "newest", F.explode("instants").alias("at"))
        .where((F.col("at") < before) & (F.col("at") < F.col("newest")))
        .collect()
    )
    if old:
        wanted = " OR ".join(f"(segment = '{row['segment']}' AND at = {row['at']})" for row in old)
        lake.delta(session, TABLE).delete(wanted)
