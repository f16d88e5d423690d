"""Batch over what the stream has stored: memberships at an instant, and whether both agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.identity import LINKS
from headrace.plan.model import Plan
from headrace.plan.usage import held_segments
from headrace.spark.evaluate import evaluate_facts, state_members
from headrace.spark.header import Header
from headrace.spark.tables import Lake


@dataclass(frozen=True, slots=True)
class Parity:
    """How many memberships batch and stream agree on, and the first of those they do not."""

    compared: int
    differences: int
    only_stream: tuple[tuple[str, str], ...]
    only_batch: tuple[tuple[str, str], ...]


def recomputed(
    spark: SparkSession,
    lake: Lake,
    *,
    plan: Plan,
    header: Header,
    at: int,
    statements: Mapping[str, str] | None = None,
) -> DataFrame:
    """Memberships (segment, user_id) at ``at`` from the stored events up to batch ``header.n``,
    under the identities that the stream knew then.

    ``statements`` are segments in SQL beside the plan, by id.
    """
    facts = lake.facts(spark, horizon_ms=plan.job.horizon_ms)
    carried_out = F.when(F.col("type").isin(*LINKS), header.linked).otherwise(header.n)
    known = facts.where((F.col("n") <= carried_out) & (F.col("ts") <= at))
    return evaluate_facts(known, plan=plan, at=at, statements=statements)


def compare(
    spark: SparkSession, lake: Lake, batch: DataFrame, *, plan: Plan, shown: int = 20
) -> Parity:
    """Hold ``batch`` against the stream's own state, user by user and segment by segment.

    Segments that rest on a stay are left out: their members hang on when batches ran.
    """
    held = list(held_segments(plan))
    batch = batch.where(~F.col("segment").isin(held))
    stream = state_members(lake.latest_profiles(spark), plan=plan)
    stream = stream.where(~F.col("segment").isin(held))
    both = (
        stream.withColumn("stream", F.lit(1))
        .join(batch.withColumn("batch", F.lit(1)), ["segment", "user_id"], "full_outer")
        .persist()
    )
    lacking_batch = both.where("batch IS NULL").select("segment", "user_id")
    lacking_stream = both.where("stream IS NULL").select("segment", "user_id")
    parity = Parity(
        compared=both.count(),
        differences=lacking_batch.count() + lacking_stream.count(),
        only_stream=tuple((r[0], r[1]) for r in lacking_batch.limit(shown).collect()),
        only_batch=tuple((r[0], r[1]) for r in lacking_stream.limit(shown).collect()),
    )
    both.unpersist()
    return parity
