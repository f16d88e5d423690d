"""Memberships of the past, from who entered and who left up to then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.clock import SECOND, Instant
from headrace.spark.tables import Lake, newest_rows


def members_as_of(
    spark: SparkSession, lake: Lake, at: Instant, *, segments: Sequence[str] = ()
) -> DataFrame:
    """Memberships (segment, user_id) as the stream had them at ``at``; all, if none are named.

    Of each user and segment the last transition counts, whichever version it is of: a version
    that takes over tells only of whom it treats differently. Batches may share a now, never a
    number. Users go by the ids of then; of those forgotten since, nothing is told.
    """
    day = datetime.fromtimestamp(at // SECOND, UTC).date()
    moved = lake.read(spark, "transitions").where((F.col("day") <= day) & (F.col("at") <= at))
    if segments:
        moved = moved.where(F.col("segment").isin(*segments))
    last = moved.groupBy("segment", "user_id").agg(F.max_by("change", "n").alias("change"))
    members = last.where("change = 'enter'")
    gone = _forgotten_after(spark, lake, at)
    return members.join(gone, "user_id", "left_anti").select("segment", "user_id")


def segments_ever(spark: SparkSession, lake: Lake) -> set[str]:
    """Every segment that anybody ever entered."""
    rows = lake.read(spark, "transitions").select("segment").distinct().collect()
    return {row["segment"] for row in rows}


def _forgotten_after(spark: SparkSession, lake: Lake, at: Instant) -> DataFrame:
    """The ids (user_id) that a deletion carried out after ``at`` forgot."""
    told = lake.read(spark, "identities")
    newest = newest_rows(told).where("forgotten IS NOT NULL").select("user_id", "forgotten")
    since = told.join(newest, ["user_id", "forgotten"]).groupBy("user_id")
    return since.agg(F.min("at").alias("at")).where(F.col("at") > at).select("user_id")
