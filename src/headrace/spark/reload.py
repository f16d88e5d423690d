"""Everybody's state as the cache takes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import orjson
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from headrace.engine.state import members_of
from headrace.spark.start import Newest
from headrace.spark.tables import Lake, newest_rows

# user, n, at, memberships (segment, version, entered at), traits as JSON text
CachedRow: TypeAlias = tuple[str, int, int, list[tuple[str, int, int]], str | None]
# joined id, n, at, the id it goes by
JoinedRow: TypeAlias = tuple[str, int, int, str]


def cached_rows(spark: SparkSession, lake: Lake, newest: Newest) -> Iterator[CachedRow]:
    """One row per user as of that batch, streamed through the driver a partition at a time.

    All tables are read as it left them, however long that takes: rows of a later batch would know
    versions that its plan does not, and ids that had not been joined.
    """
    plan, until = newest.plan, newest.header.n
    versions = {p.version_id: (p.segment, p.version) for p in plan.programs}

    def name_members(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = members_of(pa.Table.from_batches([batch]), plan)
            named = [versions[version_id] for version_id in found["version_id"].to_pylist()]
            yield from pa.table(
                {
                    "user_id": found["user_id"],
                    "segment": pa.array([segment for segment, _ in named], pa.string()),
                    "version": pa.array([version for _, version in named], pa.int32()),
                }
            ).to_batches()

    latest = lake.latest_profiles(spark, version=newest.version).select(
        "user_id", "n", "at", "members", "traits"
    )
    members = latest.select("user_id", "members").mapInArrow(
        name_members, "user_id string, segment string, version int"
    )
    entered = (
        lake.read(spark, "transitions")
        .where((F.col("change") == "enter") & (F.col("n") <= until))
        .groupBy("user_id", "segment")
        .agg(F.max_by("effective_at", "n").alias("entered"))
    )
    held = (
        members.join(entered, ["user_id", "segment"], "left")
        .groupBy("user_id")
        .agg(F.collect_list(F.struct("segment", "version", "entered")).alias("held"))
    )
    rows = latest.drop("members").join(held, "user_id", "left")
    for row in rows.toLocalIterator(prefetchPartitions=True):
        # The newest batch may have told its transitions to nobody yet.
        memberships = [
            (m["segment"], m["version"], row["at"] if m["entered"] is None else m["entered"])
            for m in row["held"] or ()
        ]
        yield row["user_id"], row["n"], row["at"], memberships, _current(row["traits"])


def joined_rows(spark: SparkSession, lake: Lake, *, until: int) -> Iterator[JoinedRow]:
    """One row per id that goes by another after batch ``until``."""
    known = lake.read(spark, "identities").where(F.col("n") <= until)
    joined = newest_rows(known).where("canonical != user_id")
    rows = joined.select("user_id", "n", "at", "canonical")
    for row in rows.toLocalIterator(prefetchPartitions=True):
        yield row["user_id"], row["n"], row["at"], row["canonical"]


def _current(traits: str | None) -> str | None:
    """The traits' values without their instants."""
    if traits is None:
        return None
    kept = {name: told["v"] for name, told in orjson.loads(traits).items()}
    return orjson.dumps({k: v for k, v in kept.items() if v is not None}).decode()
