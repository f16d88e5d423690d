"""Step 4 of a batch: what its commit says goes out. Everything here may happen twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from headrace.spark.commits import Commit, newest_commit
from headrace.spark.header import Header
from headrace.spark.tables import Lake

MESSAGE = (
    "struct<user:string, n:bigint, at:bigint, changes:array<struct<id:string, segment:string,"
    " version:int, change:string, reason:string, at:bigint, effective_at:bigint,"
    " measures:map<string,string>>>>"
)

DeadLetters = Callable[[Iterator[Row]], None]


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where messages go: Kafka options for Spark's sink and the topics' names."""

    kafka: Mapping[str, str]
    memberships: str
    segments: str
    # Sends rejected rows (reason, raw, topic, partition, offset) from wherever Spark calls it.
    dead_letters: DeadLetters


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a batch's events, and what it changed."""

    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    users: int = 0
    messages: int = 0
    next_due: int | None = None


def count_batch(spark: SparkSession, lake: Lake, parsed: Commit | None, folded: Commit) -> Counts:
    """Count what a batch's two commits hold."""
    row = (
        folded.read(spark, lake, "profiles")
        .agg(
            F.count("folded").alias("users"),
            F.count("changes").alias("messages"),
            F.coalesce(F.sum("duplicates"), F.lit(0)).alias("duplicates"),
            F.min("next_due").alias("next_due"),
        )
        .collect()[0]
    )
    accepted = parsed.rows(verdict="accepted") if parsed else 0
    return Counts(
        accepted=accepted - row["duplicates"],
        duplicates=row["duplicates"],
        quarantined=parsed.rows(verdict="rejected") if parsed else 0,
        users=row["users"],
        messages=row["messages"],
        next_due=row["next_due"],
    )


def transitions(changed: DataFrame) -> DataFrame:
    """Rows with a membership message in ``changes`` -> one row per transition."""
    message = F.from_json("changes", MESSAGE).alias("message")
    return (
        changed.select(message)
        .select("message.user", "message.n", F.explode("message.changes").alias("change"))
        .select(
            F.col("change.id").alias("id"),
            F.col("user").alias("user_id"),
            F.col("change.segment").alias("segment"),
            F.col("change.version").alias("version"),
            F.col("change.change").alias("change"),
            F.col("change.at").alias("at"),
            F.col("change.effective_at").alias("effective_at"),
            F.col("change.reason").alias("reason"),
            F.to_json("change.measures").alias("measures"),
            "n",
        )
    )


def publish(
    spark: SparkSession,
    lake: Lake,
    counts: Counts,
    outlet: Outlet,
    parsed: Commit | None,
    folded: Commit,
) -> None:
    """Send a committed batch on: transitions, memberships, segments, quarantine, dead letters."""
    if counts.messages:
        _publish_changes(spark, lake, folded, outlet)
    if counts.quarantined and parsed is not None:
        _publish_rejected(spark, lake, parsed, outlet)


def _publish_changes(spark: SparkSession, lake: Lake, folded: Commit, outlet: Outlet) -> None:
    changed = (
        folded.read(spark, lake, "profiles")
        .where("changes IS NOT NULL")
        .select("user_id", "n", "changes")
    )
    moved = transitions(changed).withColumn("day", F.to_date(F.timestamp_millis("at")))
    _append(moved.coalesce(2), lake.path("transitions"), folded.header)
    told = changed.select(
        F.lit(outlet.memberships).alias("topic"),
        F.col("user_id").alias("key"),
        F.col("changes").alias("value"),
        _headers("headrace.memberships", F.concat_ws(":", "n", "user_id")),
    )
    commit = newest_commit(spark, lake, "transitions")
    assert commit is not None, "this batch has just committed to transitions"
    latest = commit.read(spark, lake, "transitions").select(
        F.lit(outlet.segments).alias("topic"),
        F.concat_ws("/", "segment", "user_id").alias("key"),
        F.to_json(
            F.struct(
                "segment",
                F.col("user_id").alias("user"),
                "version",
                (F.col("change") == "enter").alias("member"),
                F.col("effective_at").alias("since"),
                "n",
            )
        ).alias("value"),
        _headers("headrace.segments", F.col("id")),
    )
    _send(told.unionByName(latest), outlet)


def _publish_rejected(spark: SparkSession, lake: Lake, parsed: Commit, outlet: Outlet) -> None:
    rejected = (
        parsed.read(spark, lake, "events", verdict="rejected")
        .select("reason", "raw", "topic", "partition", "offset", "n", "at")
        .coalesce(1)
    )
    day = F.to_date(F.timestamp_millis("at"))
    _append(rejected.withColumn("day", day), lake.path("quarantine"), parsed.header)
    rejected.foreachPartition(outlet.dead_letters)


def publish_marker(spark: SparkSession, outlet: Outlet, marker: str, partitions: int) -> None:
    """Put ``marker`` at the end of every partition of memberships, behind all of batch n."""
    rows = spark.range(partitions).select(
        F.lit(outlet.memberships).alias("topic"),
        F.col("id").cast("int").alias("partition"),
        F.lit("").alias("key"),
        F.lit(marker).alias("value"),
        _headers("headrace.marker", F.concat_ws(":", F.lit("activate"), "id")),
    )
    _send(rows, outlet)


def _headers(kind: str, identity):  # type: ignore[no-untyped-def]  # a Column in and out
    pairs = {
        "ce_specversion": F.lit("1.0"),
        "ce_id": identity,
        "ce_source": F.lit("headrace"),
        "ce_type": F.lit(kind),
        "content-type": F.lit("application/json"),
    }
    return F.array(
        *(
            F.struct(F.lit(key).alias("key"), F.encode(value, "UTF-8").alias("value"))
            for key, value in pairs.items()
        )
    ).alias("headers")


def _send(rows: DataFrame, outlet: Outlet) -> None:
    rows.write.format("kafka").options(**outlet.kafka).option("includeHeaders", "true").save()


def _append(rows: DataFrame, path: str, header: Header) -> None:
    rows.write.format("delta").mode("append").option("userMetadata", header.to_json()).save(path)
