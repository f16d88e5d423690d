"""A segment's members with their traits, as files for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import orjson
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.cells import FORMULA, as_text
from headrace.engine.traits import plain
from headrace.plan.model import Plan
from headrace.spark.evaluate import state_members
from headrace.spark.evaluations import kept_members
from headrace.spark.tables import Lake

Format = Literal["csv", "parquet"]


def streamed_members(spark: SparkSession, lake: Lake, *, plan: Plan, segment: str) -> DataFrame:
    """Members (user_id) of a segment that the stream keeps."""
    members = state_members(lake.latest_profiles(spark), plan=plan)
    return members.where(F.col("segment") == segment).select("user_id")


def evaluated_members(spark: SparkSession, lake: Lake, *, segment: str) -> DataFrame:
    """Members (user_id) of a segment in batch only, when it was last evaluated."""
    return kept_members(spark, lake).where(F.col("segment") == segment).select("user_id")


def with_traits(
    spark: SparkSession, lake: Lake, members: DataFrame, traits: Sequence[str]
) -> DataFrame:
    """``members`` (user_id) with a column for each of ``traits``, as text."""

    def spread(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            known = [orjson.loads(plain(text)) for text in batch.column("traits").to_pylist()]
            columns = {
                name: pa.array([as_text(one.get(name)) for one in known], pa.string())
                for name in traits
            }
            yield from pa.table({"user_id": batch.column("user_id"), **columns}).to_batches()

    profiles = lake.latest_profiles(spark).select("user_id", "traits")
    schema = ", ".join(f"`{name}` string" for name in ("user_id", *traits))
    known = profiles.join(members, "user_id", "left_semi").mapInArrow(spread, schema)
    return members.join(known, "user_id", "left")


def write_members(rows: DataFrame, folder: str, *, format: Format) -> None:
    """Write ``rows`` into a folder, in place of what was there; cells of CSV are neutralised."""
    if format == "csv":
        rows = rows.select(*(_neutral(name).alias(name) for name in rows.columns))
    writer = rows.orderBy("user_id").write.mode("overwrite")
    # Quotes inside a cell are doubled, as readers of CSV expect, not escaped by a backslash.
    writer.options(header="true", escape='"').format(format).save(folder)


def _neutral(name: str) -> Column:
    """The cell as text to a spreadsheet too: an apostrophe before what it would compute."""
    cell = F.col(f"`{name}`")
    return F.when(cell.rlike(FORMULA), F.concat(F.lit("'"), cell)).otherwise(cell)
