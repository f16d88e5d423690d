"""Spark sessions: the one of a process, and those that write without a batch's transaction id."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

Session: TypeAlias = SparkSession

TXN_APP_ID = "headrace"

SETTINGS: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    # Delta's own state jobs run 50 tasks otherwise: seconds of scheduling for each commit.
    "spark.databricks.delta.snapshotPartitions": "2",
    # Writers keep one file per partition value open instead of sorting every task's rows first.
    "spark.sql.maxConcurrentOutputFileWriters": "16",
    # The kernel wants whole columns: a user group arrives in a few large record batches.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    # Touched users are broadcast to pick their state rows; 64 MiB holds about two million ids.
    "spark.sql.autoBroadcastJoinThreshold": str(64 * 1024 * 1024),
    # Snappy costs half the CPU of zstd here and packed columns compress about as well.
    "spark.sql.parquet.compression.codec": "snappy",
    # Trying a dictionary on columns whose values hardly repeat cost a tenth of all executor time.
    **{
        f"spark.hadoop.parquet.enable.dictionary#{column}": "false"
        for column in (
            *("event_id", "user_id", "properties", "ts", "offset", "raw"),
            *(
                "traits",
                "tiles",
                "logs",
                "stays",
                "members",
                "ids",
                "pending",
                "changes",
                "next_due",
            ),
            *("id", "measures"),
        )
    },
    # A checksum over all rows of a shuffle finds out jobs whose tasks differ when they run again
    # (another tenth). Ours do not: the kernel takes a group's rows in any order.
    "spark.sql.shuffle.orderIndependentChecksum.enabled": "false",
    "spark.sql.shuffle.orderIndependentChecksum.enableFullRetryOnMismatch": "false",
    "spark.sql.shuffle.orderIndependentChecksum.enableQueryLevelRollbackOnMismatch": "false",
    # Of 10,000 tasks, the default, VACUUM made 20 s for a table of ten files.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "32",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}

DELTA: Mapping[str, str] = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def open_session(
    name: str,
    *,
    master: str | None = None,
    jars: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    tables: bool = True,
) -> SparkSession:
    """The session of this process; one without tables needs no jars and gets no Delta.

    Under ``spark-submit`` the master and the jars are already given; a plain Python process
    names them here. What ``spark-submit`` was told wins over our defaults.
    """
    # Workers run the interpreter that has our packages, one thread of Polars each.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    builder = SparkSession.builder.appName(name)
    if master is not None:
        builder = builder.master(master)
    if jars:
        builder = builder.config("spark.jars", ",".join(jars))
    given = _given()
    for key, value in {**SETTINGS, **(DELTA if tables else {}), **(settings or {})}.items():
        if key not in given:
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def _given() -> frozenset[str]:
    """The settings that ``spark-submit`` has been told; none in a plain Python process."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return frozenset()
    SparkContext._ensure_initialized()  # a SparkConf reads them through the gateway
    return frozenset(key for key, _ in SparkConf().getAll())


def bind_transaction(spark: SparkSession, n: int) -> None:
    """Make every Delta write of ``spark`` idempotent under batch number ``n``.

    Delta skips a second append under the same number, and ignores these as options of MERGE:
    they are session settings, so only a batch's own session may carry them.
    """
    spark.conf.set("spark.databricks.delta.write.txnAppId", TXN_APP_ID)
    spark.conf.set("spark.databricks.delta.write.txnVersion", str(n))


def plain_session(spark: SparkSession) -> SparkSession:
    """A session on the same cluster whose Delta writes carry no transaction id."""
    return spark.newSession()
