"""What data quality is judged by: a few small tables, measured on the Delta tables at one version.

Suites of expectations know these tables by name. ``now`` is the newest batch's, so that a stream
that stands still is not taken for data that stopped: that is for `headrace status` to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.clock import DAY, HOUR, SECOND
from headrace.engine.state import CURRENT
from headrace.plan.model import Plan
from headrace.spark.evaluate import state_members
from headrace.spark.tables import Lake, TableName, newest_rows

USUAL_DAYS = 7
SAMPLE = 100_000  # events whose properties are looked at, of the last day and of those before
PERIODS = ("last_day", "usual")
READ: tuple[TableName, ...] = ("events", "profiles", "transitions")
KINDS = {
    "VOID": "null",
    "STRING": "text",
    "BOOLEAN": "boolean",
    "ARRAY": "list",
    "OBJECT": "object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The tables at one version each, while they move on."""

    spark: SparkSession
    lake: Lake
    plan: Plan
    now: int
    versions: Mapping[str, int]

    @staticmethod
    def of(spark: SparkSession, lake: Lake, *, plan: Plan, now: int) -> Snapshot:
        """The tables as they are now."""
        versions: dict[str, int] = {
            name: lake.delta(spark, name).history(1).collect()[0]["version"] for name in READ
        }
        return Snapshot(spark=spark, lake=lake, plan=plan, now=now, versions=versions)

    def read(self, name: TableName) -> DataFrame:
        """Table ``name`` at its version."""
        return self.lake.read(self.spark, name, version=self.versions[name])

    def lately(self) -> DataFrame:
        """Events of the last day and the seven before it; ``recent`` tells them apart."""
        since = self.now - (USUAL_DAYS + 1) * DAY
        day = datetime.fromtimestamp(since / SECOND, UTC).date()
        rows = self.read("events").where(
            (F.col("day") >= F.lit(day)) & (F.col("at") > since) & (F.col("at") <= self.now)
        )
        return rows.withColumn("recent", F.col("at") > self.now - DAY)


def volumes(snapshot: Snapshot) -> pl.DataFrame:
    """By event type: accepted events of the last day, and of a usual day of the week before.

    A week that began less than a day ago has no usual day: NULL, of which suites ask nothing.
    """
    rows = snapshot.lately().where("verdict = 'accepted'")
    return _against_usual(rows, F.col("type").alias("type"), snapshot.now)


def refusals(snapshot: Snapshot) -> pl.DataFrame:
    """By reason: events refused in the last day and on a usual day, as shares of all that came."""
    reason = F.coalesce("reason", F.lit("accepted")).alias("reason")
    found = _against_usual(snapshot.lately(), reason, snapshot.now)
    shares = [(pl.col(name) / pl.col(name).sum()).alias(f"{name}_share") for name in PERIODS]
    return found.with_columns(shares).filter(pl.col("reason") != "accepted").drop("ratio")


def _against_usual(rows: DataFrame, key: Column, now: int) -> pl.DataFrame:
    counted = rows.groupBy(key).agg(
        F.count_if("recent").alias("last_day"),
        F.count_if(~F.col("recent")).alias("before"),
        F.min("at").alias("first"),
    )
    found = _table(counted.orderBy(*counted.columns[:1]))
    days = (now - DAY - pl.col("first").min()) / DAY
    usual = pl.when(days >= 1).then(pl.col("before") / pl.min_horizontal(days, USUAL_DAYS))
    ratio = pl.when(pl.col("usual") > 0).then(pl.col("last_day") / pl.col("usual"))
    return (
        found.with_columns(usual.alias("usual"))
        .with_columns(ratio.alias("ratio"))
        .drop("before", "first")
    )


def properties(snapshot: Snapshot) -> pl.DataFrame:
    """By event type and property: how often it is missing, and of which JSON types it is.

    From samples of the last day and of the week before; ``new_kinds`` are types that were not seen
    before.
    """
    events = snapshot.lately().where("verdict = 'accepted' AND properties IS NOT NULL")
    sizes = {row["recent"]: row["count"] for row in events.groupBy("recent").count().collect()}
    shares = {recent: min(1.0, SAMPLE / size) for recent, size in sizes.items()}
    share = F.when(F.col("recent"), shares.get(True, 1.0)).otherwise(shares.get(False, 1.0))
    # By hash: the same events whenever the same version is looked at.
    drawn = F.pmod(F.xxhash64("partition", "offset"), F.lit(1_000_000)) < share * 1_000_000
    sampled = events.where(drawn).select(
        "type", "recent", F.parse_json("properties").cast("map<string, variant>").alias("said")
    )
    sampled = sampled.persist()
    totals = sampled.groupBy("type", "recent").agg(F.count("*").alias("events"))
    said = sampled.select("type", "recent", F.explode("said").alias("property", "value")).select(
        "type", "recent", "property", _kind(F.col("value")).alias("kind")
    )
    given = (
        said.where("kind != 'null'")
        .groupBy("type", "recent", "property")
        .agg(F.count("*").alias("given"), F.sort_array(F.collect_set("kind")).alias("kinds"))
    )
    by_period = {
        recent: _periods(_table(given), _table(totals), recent=recent) for recent in (True, False)
    }
    sampled.unpersist()
    return _compared(by_period[True], by_period[False])


def _kind(value: Column) -> Column:
    schema = F.schema_of_variant(value)
    kind = F.lit("number")  # BIGINT, DECIMAL(..), DOUBLE
    for prefix, name in KINDS.items():
        kind = F.when(schema.startswith(prefix), name).otherwise(kind)
    return kind


def _periods(given: pl.DataFrame, totals: pl.DataFrame, *, recent: bool) -> pl.DataFrame:
    """Of one period: by type and property the events looked at, null rate and kinds."""
    every = given.select("type", "property").unique()
    counted = given.filter(pl.col("recent") == recent).drop("recent")
    events = totals.filter(pl.col("recent") == recent).drop("recent")
    return (
        every.join(events, on="type", how="left")
        .join(counted, on=["type", "property"], how="left")
        .with_columns(null_rate=1 - pl.col("given").fill_null(0) / pl.col("events"))
        .select("type", "property", "events", "null_rate", "kinds")
    )


def _compared(lately: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """One row per type and property, the last day beside the week before."""
    usual = before.rename({name: f"usual_{name}" for name in ("events", "null_rate", "kinds")})
    new = pl.col("kinds").list.set_difference(pl.col("usual_kinds"))
    return (
        lately.join(usual, on=["type", "property"])
        .sort("type", "property")
        .with_columns(
            more_nulls=pl.col("null_rate") - pl.col("usual_null_rate"),
            # A property that was not there before is new, not drifted.
            new_kinds=new.fill_null([]).list.join(", "),
            kinds=pl.col("kinds").list.join(", "),
            usual_kinds=pl.col("usual_kinds").list.join(", "),
        )
    )


def segments(snapshot: Snapshot) -> pl.DataFrame:
    """By segment the stream keeps: members now and an hour ago, who came and who left since."""
    states = snapshot.read("profiles").select("user_id", "n", "layout", "members")
    latest = newest_rows(states).where(F.col("layout") == CURRENT)
    held = state_members(latest, plan=snapshot.plan)
    members = held.groupBy("segment").agg(F.count("*").alias("members"))
    since = snapshot.now - HOUR
    moved = (
        snapshot.read("transitions")
        .where(
            (F.col("day") >= F.to_date(F.timestamp_millis(F.lit(since)))) & (F.col("at") > since)
        )
        .groupBy("segment", "user_id")
        .agg(F.sum(F.when(F.col("change") == "enter", 1).otherwise(-1)).alias("net"))
        .groupBy("segment")
        .agg(F.count_if(F.col("net") > 0).alias("came"), F.count_if(F.col("net") < 0).alias("left"))
    )
    found = _table(members.join(moved, "segment", "full_outer").fillna(0).orderBy("segment"))
    before = pl.col("members") - pl.col("came") + pl.col("left")
    lost = pl.when(pl.col("before") > 0).then(pl.col("left") / pl.col("before"))
    return (
        found.filter(pl.col("segment").is_in([one.segment for one in snapshot.plan.programs]))
        .with_columns(before.alias("before"))
        .with_columns(lost.alias("lost_share"))
    )


def _table(frame: DataFrame) -> pl.DataFrame:
    return pl.DataFrame(frame.toArrow())


TABLES: Mapping[str, Callable[[Snapshot], pl.DataFrame]] = {
    "volumes": volumes,
    "refusals": refusals,
    "properties": properties,
    "segments": segments,
}
