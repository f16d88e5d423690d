"""The streaming query: two topics and a heartbeat in, one function per micro-batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.readwriter import DataStreamReader

from headrace.errors import OperatorError
from headrace.spark.disks import disk_full
from headrace.spark.opening import Opening

ROW = "cast(null as binary) as value, cast(null as string) as topic, 0 as partition, 0L as offset"
# How Spark names offsets that Kafka no longer has.
LOST_OFFSETS = ("KAFKA_DATA_LOSS", "OffsetOutOfRangeException", "Some data may have been lost")


@dataclass(frozen=True, slots=True)
class Inlet:
    """What the stream reads."""

    kafka: Mapping[str, str]
    opening: Opening
    max_events_per_batch: int
    trigger_ms: int


def open_rows(spark: SparkSession, inlet: Inlet) -> DataFrame:
    """Events of all topics, control messages and one heartbeat row a second, as one stream.

    All three are there from the first release on: a source added to an old checkpoint is
    refused, and a stream of silent sources makes no batch, so nobody would leave by time.
    """
    events = _topics(spark, inlet, inlet.opening.events).option(
        "maxOffsetsPerTrigger", str(inlet.max_events_per_batch)
    )
    control = _topics(spark, inlet, (inlet.opening.control,))
    columns = ("value", "topic", "partition", "offset")
    heartbeat = (
        spark.readStream.format("rate").option("rowsPerSecond", "1").option("numPartitions", "1")
    )
    return (
        events.load()
        .select(*columns)
        .union(control.load().select(*columns))
        .union(heartbeat.load().selectExpr(*ROW.split(", ")))
    )


def _topics(spark: SparkSession, inlet: Inlet, topics: Sequence[str]) -> DataStreamReader:
    starting = inlet.opening.starting
    offsets = "earliest"
    if starting is not None:
        offsets = json.dumps(
            {topic: {str(part): at for part, at in starting[topic].items()} for topic in topics}
        )
    return (
        spark.readStream.format("kafka")
        .options(**inlet.kafka)
        .option("subscribe", ",".join(topics))
        .option("startingOffsets", offsets)
        .option("failOnDataLoss", "true")
    )


def run_stream(
    rows: DataFrame,
    *,
    on_batch: Callable[[DataFrame, int], None],
    checkpoint: str,
    inlet: Inlet,
    stopping: Callable[[], bool],
    tables: str,
) -> None:
    """Run until ``stopping`` says so, then end after the batch in progress.

    Raises OperatorError when Kafka no longer holds what the checkpoint needs, and when the disk of
    checkpoint or ``tables`` is full; whatever else a batch raises comes through as it is.
    """

    def run(batch: DataFrame, batch_id: int) -> None:
        # Stopping from outside has overflowed the JVM's stack; a batch that refuses to begin ends
        # the query between two batches, and the next run plans it again.
        if stopping():
            raise _Stopped
        on_batch(batch, batch_id)

    query = (
        rows.writeStream.foreachBatch(run)
        .option("checkpointLocation", checkpoint)
        .trigger(processingTime=f"{inlet.trigger_ms} milliseconds")
        .start()
    )
    try:
        query.awaitTermination()
    except StreamingQueryException as failure:
        text = str(failure)
        if stopping() and _Stopped.__name__ in text:
            return
        if any(sign in text for sign in LOST_OFFSETS):
            raise OperatorError(
                f"{', '.join(inlet.opening.events)}: Kafka no longer holds the offsets that "
                f"{checkpoint} needs; "
                "docs/runbooks/offsets-lost.md says what to do",
                code="HR910",
            ) from failure
        full = disk_full(text, [tables, checkpoint])
        if full is not None:
            raise full from failure
        raise


class _Stopped(Exception):
    """Raised inside a micro-batch that must not begin."""
