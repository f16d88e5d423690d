"""Rows of a table, read over JDBC, to a topic: as Debezium would tell of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

DRIVER = "org.postgresql.Driver"
AT_ONCE = 10_000
OVERLAP = timedelta(minutes=10)
"""So long may a transaction be under way: its rows bear watermarks from before its commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """A table, named with its schema, and the column by which its changes are found."""

    url: str  # jdbc:postgresql://host:port/name
    user: str
    password: str = field(repr=False)
    table: str
    watermark: str
    key: tuple[str, ...]
    columns: tuple[str, ...] | None  # beside the watermark; None: all of them


def newest_watermark(spark: SparkSession, source: RowSource) -> datetime | None:
    """The greatest watermark in the table; None where there is none."""
    column = f'"{source.watermark}"'
    rows = _read(spark, source, f"(SELECT max({column}) AS newest FROM {_table(source)}) AS told")
    # As a number: what is collected as an instant is in this machine's zone.
    row = rows.select(F.unix_micros(F.col("newest").cast("timestamp"))).first()
    if row is None or row[0] is None:
        return None
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row[0])


def send_rows(
    spark: SparkSession,
    source: RowSource,
    *,
    after: datetime | None,
    to: datetime,
    topic: str,
    bootstrap: str,
) -> None:
    """Send the rows with watermarks from ``OVERLAP`` before ``after`` up to ``to``.

    A row that is sent twice has the same id, made of its key and its watermark.
    """
    column = f'"{source.watermark}"'
    since = f" AND {column} > '{(after - OVERLAP).isoformat()}'" if after is not None else ""
    upto = f"{column} <= '{to.isoformat()}'{since}"
    query = f"SELECT {_columns(source)} FROM {_table(source)} WHERE {upto}"
    rows = _read(spark, source, f"({query}) AS changed")
    writer = _messages(rows, source).write.format("kafka")
    writer = writer.option("kafka.bootstrap.servers", bootstrap).option("kafka.acks", "all")
    writer.option("topic", topic).save()


def _messages(rows: DataFrame, source: RowSource) -> DataFrame:
    """Key and value as a connector would write them; the watermark is the place in the log."""
    schema, _, name = source.table.partition(".")
    at = _column(source.watermark).cast("timestamp")
    place = F.struct(
        F.lit(schema).alias("schema"),
        F.lit(name).alias("table"),
        F.unix_micros(at).alias("lsn"),
        F.unix_millis(at).alias("ts_ms"),
        # Two states of a row may have one watermark: of whole seconds, or of one transaction.
        F.xxhash64(*map(_column, rows.columns)).alias("row"),
    )
    keep = {"ignoreNullFields": "false"}
    change = F.struct(
        F.lit("r").alias("op"), F.struct(*map(_column, rows.columns)).alias("after"),
        place.alias("source"),
    )  # fmt: skip
    return rows.select(
        F.to_json(F.struct(*map(_column, source.key)), keep).alias("key"),
        F.to_json(change, keep).alias("value"),
    )


def _columns(source: RowSource) -> str:
    if source.columns is None:
        return "*"
    names = sorted({*source.columns, source.watermark})
    return ", ".join('"' + name.replace('"', '""') + '"' for name in names)


def _column(name: str) -> Column:
    quoted = name.replace("`", "``")
    return F.col(f"`{quoted}`")


def _read(spark: SparkSession, source: RowSource, table: str) -> DataFrame:
    reader = (
        spark.read.format("jdbc")
        .option("driver", DRIVER)
        .option("url", source.url)
        .option("user", source.user)
        .option("password", source.password)
        .option("fetchsize", str(AT_ONCE))
        .option("dbtable", table)
    )
    return reader.load()


def _table(source: RowSource) -> str:
    schema, _, name = source.table.partition(".")
    return f'"{schema}"."{name}"'
