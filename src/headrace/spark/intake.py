"""Step 1 of a batch: parse and validate once, append every row in one commit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import DataFrame

from headrace.engine.door import Doors, admit
from headrace.rules.catalog import Catalog
from headrace.spark.commits import append
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
    values: DataFrame,
    *,
    lake: Lake,
    header: Header,
    catalog: Catalog,
    retention_ms: int,
    doors: Doors,
    size: int,
) -> None:
    """Append all rows of one batch to ``events`` under its header."""
    day = datetime.fromtimestamp(header.now / 1000, UTC).date()

    def admit_batch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # n, at and day come from here, not as literals of the query: see `commits`.
        for batch in batches:
            rows = admit(
                pa.Table.from_batches([batch]),
                catalog=catalog,
                now=header.now,
                retention_ms=retention_ms,
                doors=doors,
            )
            size = len(rows)
            yield from (
                rows.select(COLUMNS)
                .append_column("n", pa.repeat(pa.scalar(header.n, pa.int64()), size))
                .append_column("at", pa.repeat(pa.scalar(header.now, pa.int64()), size))
                .append_column("day", pa.repeat(pa.scalar(day, pa.date32()), size))
                .to_batches()
            )

    rows = values.select("value", "topic", "partition", "offset")
    if size < ONE_TASK:
        rows = rows.coalesce(1)
    admitted = rows.mapInArrow(admit_batch, f"{PARSED}, n bigint, at bigint, day date")
    append(admitted, lake.path("events"), header)
