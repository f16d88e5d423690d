"""Step 1 of a batch: parse and validate once, append every row in one commit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from headrace.engine.door import admit
from headrace.rules.catalog import Catalog
from headrace.spark.header import Header
from headrace.spark.tables import Lake

PARSED = (
    "event_id string, user_id string, type string, ts bigint, properties string,"
    " verdict string, reason string, raw binary, topic string, partition int, offset bigint"
)
COLUMNS = [field.split()[0] for field in PARSED.split(",")]
# Below this one task parses faster than four can be scheduled, and leaves one file instead of four.
ONE_TASK = 20_000


def parsed(
    values: DataFrame, *, catalog: Catalog, now: int | None, retention_ms: int | None
) -> DataFrame:
    """Kafka rows (value, topic, partition, offset) -> rows with a verdict, properties canonical."""

    def admit_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = admit(
                pa.Table.from_batches([batch]), catalog=catalog, now=now, retention_ms=retention_ms
            )
            yield from rows.select(COLUMNS).to_batches()

    return values.select("value", "topic", "partition", "offset").mapInArrow(admit_all, PARSED)


def append_events(
    values: DataFrame, *, lake: Lake, header: Header, catalog: Catalog, retention_ms: int, size: int
) -> None:
    """Append all rows of one batch to ``events`` under its header."""
    day = datetime.fromtimestamp(header.now / 1000, UTC).date()
    rows = (
        parsed(values, catalog=catalog, now=header.now, retention_ms=retention_ms)
        .withColumn("n", F.lit(header.n))
        .withColumn("at", F.lit(header.now))
        .withColumn("day", F.lit(day))
    )
    if size < ONE_TASK:
        rows = rows.coalesce(1)
    (
        rows.write.format("delta")
        .mode("append")
        .option("userMetadata", header.to_json())
        .save(lake.path("events"))
    )
