"""The jobs people write by hand for the same rules, run by ``./spark-submit.sh``.

``merge``: one foreachBatch that MERGEs hourly counters, computes one column per rule for the
touched users, compares with the stored columns, MERGEs those and sends what changed to Kafka.
``windows``: one sliding-window query per rule, as the streaming guide shows it.

Both stop after ``--seconds`` and write what they did as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.spark.session import open_session

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
EVENT = "user_id string, type string, ts bigint, properties struct<amount:decimal(15,2)>"


def parsed(spark: SparkSession, arguments: argparse.Namespace) -> DataFrame:
    """The topic's events as columns."""
    rows = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", arguments.bootstrap)
        .option("subscribe", arguments.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", "400000")
        .load()
    )
    event = F.from_json(F.col("value").cast("string"), EVENT).alias("e")
    return rows.select(event).select("e.user_id", "e.type", "e.ts", "e.properties.amount")


class Merge:
    """State as two Delta tables: hourly counters, and one boolean column per rule."""

    def __init__(self, spark: SparkSession, arguments: argparse.Namespace, rules: list[Any]):
        self.rules = rules
        self.names = [f"r{number:05d}" for number in range(len(rules))]
        self.counters, self.flags = (
            f"{arguments.root}/counters",
            f"{arguments.root}/flags",
        )
        self.kafka, self.sink = arguments.bootstrap, arguments.sink
        self.batches: list[dict[str, Any]] = []
        self.began = 0.0
        self._create(
            spark,
            self.counters,
            "user_id string, type string, hour bigint, n bigint, s decimal(20,2)",
        )
        columns = ", ".join(f"{name} boolean" for name in self.names)
        self._create(spark, self.flags, f"user_id string, {columns}")

    @staticmethod
    def _create(spark: SparkSession, path: str, columns: str) -> None:
        spark.sql(
            f"CREATE TABLE delta.`{path}` ({columns}) USING delta"
            " TBLPROPERTIES (delta.dataSkippingNumIndexedCols = 0)"
        )

    def __call__(self, batch: DataFrame, _: int) -> None:
        """One micro-batch."""
        self.began = self.began or time.time()
        spark, now = batch.sparkSession, time.time_ns() // 1_000_000
        batch.persist()
        events = batch.count()
        hourly = batch.groupBy(
            "user_id", "type", (F.col("ts") - F.col("ts") % HOUR_MS).alias("hour")
        ).agg(F.count("*").alias("n"), F.sum("amount").alias("s"))
        (
            DeltaTable.forPath(spark, self.counters)
            .alias("t")
            .merge(
                hourly.alias("u"),
                "t.user_id = u.user_id AND t.type = u.type AND t.hour = u.hour",
            )
            .whenMatchedUpdate(set={"n": "t.n + u.n", "s": "t.s + u.s"})
            .whenNotMatchedInsertAll()
            .execute()
        )
        flags = self._flags(spark, batch.select("user_id").distinct(), now)
        flags.persist()
        old = spark.read.format("delta").load(self.flags)
        self._send_changes(flags, old)
        (
            DeltaTable.forPath(spark, self.flags)
            .alias("t")
            .merge(flags.alias("u"), "t.user_id = u.user_id")
            .whenMatchedUpdateAll()
            .whenNotMatchedInsertAll()
            .execute()
        )
        flags.unpersist()
        batch.unpersist()
        self.batches.append({"events": events, "now": now, "done": time.time()})

    def _flags(self, spark: SparkSession, users: DataFrame, now: int) -> DataFrame:
        counters = (
            spark.read.format("delta").load(self.counters).join(users, "user_id", "left_semi")
        )
        sums: dict[str, Column] = {}
        for rule in self.rules:
            for function, kind, days, _ in rule:
                first = (now - days * DAY_MS) // HOUR_MS * HOUR_MS
                inside = (F.col("type") == kind) & (F.col("hour") >= first)
                value = F.when(inside, F.col("n" if function == "count" else "s"))
                sums[f"{function}_{kind}_{days}"] = F.coalesce(F.sum(value), F.lit(0))
        totals = counters.groupBy("user_id").agg(*(s.alias(name) for name, s in sums.items()))
        return totals.select(
            "user_id",
            *(
                (self._holds(rule[0]) & self._holds(rule[1])).alias(name)
                for name, rule in zip(self.names, self.rules, strict=True)
            ),
        )

    @staticmethod
    def _holds(part: list[Any]) -> Column:
        function, kind, days, constant = part
        return F.col(f"{function}_{kind}_{days}") >= F.lit(
            constant if function == "count" else constant / 100
        )

    def _send_changes(self, flags: DataFrame, old: DataFrame) -> None:
        changes = [
            F.when(
                F.col(f"u.{name}") != F.coalesce(F.col(f"t.{name}"), F.lit(False)),
                F.struct(F.lit(name).alias("segment"), F.col(f"u.{name}").alias("member")),
            )
            for name in self.names
        ]
        changed = (
            flags.alias("u")
            .join(old.alias("t"), F.col("u.user_id") == F.col("t.user_id"), "left")
            .select(
                F.col("u.user_id").alias("key"),
                F.array_compact(F.array(*changes)).alias("c"),
            )
            .where(F.size("c") > 0)
        )
        (
            changed.select("key", F.to_json("c").alias("value"))
            .write.format("kafka")
            .option("kafka.bootstrap.servers", self.kafka)
            .option("topic", self.sink)
            .save()
        )

    def members(self, spark: SparkSession) -> list[tuple[str, int]]:
        """Memberships as stored: (user, rule)."""
        held = F.array_compact(
            F.array(*(F.when(F.col(name), F.lit(k)) for k, name in enumerate(self.names)))
        )
        rows = spark.read.format("delta").load(self.flags).select("user_id", held.alias("r"))
        return [(row["user_id"], k) for row in rows.collect() for k in row["r"]]


def reason(failure: Exception | None) -> str | None:
    """The line of a failure that says what happened."""
    if failure is None:
        return None
    lines = [line.strip() for line in str(failure).splitlines()]
    said = [line for line in lines if "Exception: " in line or "Error: " in line]
    return (said or lines or ["unknown"])[-1][:300]


def run_merge(
    spark: SparkSession, arguments: argparse.Namespace, rules: list[Any]
) -> dict[str, Any]:
    """Drain the topic with the foreachBatch job."""
    job = Merge(spark, arguments, rules)
    started = time.time()
    query = (
        parsed(spark, arguments)
        .writeStream.foreachBatch(job)
        .option("checkpointLocation", f"{arguments.root}/checkpoint")
        .start()
    )

    def drained() -> int:
        return sum(batch["events"] for batch in job.batches)

    while (passed := time.time() - started) < arguments.seconds or not job.batches:
        if drained() >= arguments.events or passed > arguments.patience or not query.isActive:
            break
        time.sleep(0.2)
    failure = reason(query.exception())
    seconds = (job.batches[-1]["done"] if job.batches else time.time()) - (job.began or started)
    result: dict[str, Any] = {
        "events": drained(),
        "seconds": seconds,
        "batches": len(job.batches),
        "failure": failure,
    }
    if drained() >= arguments.events:
        query.stop()
        result |= {"now": job.batches[-1]["now"], "members": job.members(spark)}
    return result


def run_windows(
    spark: SparkSession, arguments: argparse.Namespace, rules: list[Any]
) -> dict[str, Any]:
    """One query per rule over sliding windows of an hour's step."""
    events = parsed(spark, arguments).withColumn("at", F.timestamp_millis("ts"))
    queries = []
    started = time.time()
    for number, rule in enumerate(rules):
        days = max(part[2] for part in rule)
        parts = [
            F.sum(
                F.when(
                    F.col("type") == kind,
                    F.lit(1) if function == "count" else F.col("amount"),
                )
            )
            >= F.lit(constant if function == "count" else constant / 100)
            for function, kind, _, constant in rule
        ]
        rows = (
            events.withWatermark("at", "1 hour")
            .groupBy(F.window("at", f"{days} days", "1 hour"), "user_id")
            .agg((parts[0] & parts[1]).alias("member"))
            .where("member")
        )
        queries.append(
            rows.writeStream.outputMode("update")
            .format("noop")
            .option("checkpointLocation", f"{arguments.root}/windows/{number}")
            .start()
        )
    while time.time() - started < arguments.seconds:
        if any(not query.isActive for query in queries):
            break
        time.sleep(0.5)
    failures = [reason(query.exception()) for query in queries if query.exception()]
    done = [sum(p["numInputRows"] for p in query.recentProgress) for query in queries]
    return {
        "events": min(done),
        "seconds": time.time() - started,
        "batches": sum(len(query.recentProgress) for query in queries),
        "failure": failures[0] if failures else None,
    }


def main() -> None:
    """Run one job and leave its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("merge", "windows"))
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--sink", required=True)
    parser.add_argument("--rules", required=True, type=Path)
    parser.add_argument("--root", required=True)
    parser.add_argument("--result", required=True, type=Path)
    parser.add_argument("--events", required=True, type=int)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--patience", type=float, default=300)
    arguments = parser.parse_args()
    rules = json.loads(arguments.rules.read_text())
    spark = open_session(
        f"by-hand-{arguments.kind}", settings={"spark.sql.shuffle.partitions": "8"}
    )
    run = run_merge if arguments.kind == "merge" else run_windows
    arguments.result.write_text(json.dumps(run(spark, arguments, rules)))


if __name__ == "__main__":
    main()
    # A query in the middle of a batch may take minutes to stop; nothing of it is needed.
    import os

    os._exit(0)
