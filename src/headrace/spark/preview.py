"""What a plan would change if it took over now: who would enter and leave, and some of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import orjson
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from headrace.plan.diff import diff
from headrace.plan.model import Plan
from headrace.spark.evaluate import state_members
from headrace.spark.recompute import recomputed
from headrace.spark.start import Newest
from headrace.spark.tables import Lake, newest_rows
from headrace.spark.tombstones import Tombstones

Way = Literal["enter", "leave"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Of one segment: members now and then, how many enter and leave, and some of those."""

    segment: str
    now: int
    then: int
    enter: int
    leave: int
    entering: tuple[str, ...]
    leaving: tuple[str, ...]


def moves(
    spark: SparkSession,
    lake: Lake,
    newest: Newest,
    target: Plan,
    *,
    shown: int,
    tombstones: Tombstones | None,
) -> list[Moves]:
    """The segments that ``target`` touches, as of the newest batch; ``shown`` users each way.

    ``tombstones`` are the `needed` ones.
    """
    touched = _touched(newest.plan, target)
    if not touched:
        return []
    latest = newest_rows(lake.read(spark, "profiles", version=newest.version))
    held = state_members(latest, plan=newest.plan).where(F.col("segment").isin(*touched))
    plan = replace(target, programs=tuple(p for p in target.programs if p.segment in touched))
    header = newest.header
    wanted = recomputed(spark, lake, plan=plan, header=header, at=header.now, tombstones=tombstones)
    both = held.withColumn("now", F.lit(1)).join(
        wanted.withColumn("then", F.lit(1)), ["segment", "user_id"], "full_outer"
    )
    enters = F.when(F.col("now").isNull(), "enter")
    both = both.withColumn("way", enters.when(F.col("then").isNull(), "leave")).persist()
    sizes = _sizes(both)
    some = _some(both, shown)
    both.unpersist()
    return [
        Moves(
            segment=segment,
            **sizes.get(segment, dict.fromkeys(("now", "then", "enter", "leave"), 0)),
            entering=tuple(some["enter", segment]),
            leaving=tuple(some["leave", segment]),
        )
        for segment in touched
    ]


def facts_as_lines(
    spark: SparkSession, lake: Lake, newest: Newest, users: Sequence[str]
) -> list[bytes]:
    """All facts of ``users`` and of the ids joined to them, as lines of a file."""
    named = spark.createDataFrame(pa.table({"canonical": pa.array(list(users), pa.string())}))
    identities = newest_rows(lake.read(spark, "identities"))
    joined = identities.join(F.broadcast(named), "canonical").select("user_id")
    ids = named.select(F.col("canonical").alias("user_id")).union(joined).distinct()
    facts = lake.facts(spark, horizon_ms=newest.plan.job.horizon_ms, users=F.broadcast(ids))
    columns = ("event_id", "user_id", "type", "ts", "properties")
    return list(_lines(facts.where(F.col("n") <= newest.header.n).select(*columns)))


def _lines(facts: DataFrame) -> Iterator[bytes]:
    for row in facts.collect():
        line = {"type": row["type"], "ts": row["ts"]}
        if row["event_id"] is not None:
            line["event_id"] = row["event_id"]
        stated = orjson.loads(row["properties"] or "{}")
        if row["type"] == "alias":
            yield orjson.dumps({**line, **stated})
        else:
            under = "traits" if row["type"] == "traits" else "properties"
            yield orjson.dumps({**line, "user_id": row["user_id"], under: stated})


def _touched(now: Plan, target: Plan) -> list[str]:
    change = diff(now, target)
    coming = {*change.added, *(new for new in change.replaced.values() if new is not None)}
    segments = {program.segment for program in target.programs if program.version_id in coming}
    return sorted(segments | {segment for segment, _ in change.names.values()})


def _sizes(both: DataFrame) -> dict[str, dict[str, int]]:
    ways = (F.count(F.when(F.col("way") == way, 1)).alias(way) for way in ("enter", "leave"))
    rows = both.groupBy("segment").agg(
        F.count("now").alias("now"), F.count("then").alias("then"), *ways
    )
    return {row["segment"]: {key: row[key] for key in row.asDict() if key != "segment"}
            for row in rows.collect()}  # fmt: skip


def _some(both: DataFrame, shown: int) -> dict[tuple[Way, str], list[str]]:
    """The smallest ids each way, so that a second look shows the same people."""
    first = Window.partitionBy("way", "segment").orderBy("user_id")
    ranked = both.where("way IS NOT NULL").withColumn("rank", F.row_number().over(first))
    found: dict[tuple[Way, str], list[str]] = defaultdict(list)
    for row in ranked.where(F.col("rank") <= shown).orderBy("user_id").collect():
        found[row["way"], row["segment"]].append(row["user_id"])
    return found
