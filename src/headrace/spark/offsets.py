"""Spark's own record of a micro-batch: what it reads and when it was planned.

Spark writes ``offsets/<id>`` into the checkpoint before a batch runs and ``commits/<id>`` after.
The format (a version line, a JSON line, then one line per source in the order of the union) has
been the same since Spark 2.1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pyspark.sql import SparkSession

from headrace.spark.files import names, read_text

TopicOffsets: TypeAlias = Mapping[str, Mapping[int, int]]  # topic -> partition -> next offset


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """One entry of the offset log: the batch's id, its instant and its end offsets.

    ``beats`` are the seconds that the heartbeat has counted since its first start.
    """

    id: int
    at: int
    ends: TopicOffsets
    beats: int | None = None


def parse_offsets(batch_id: int, text: str) -> PlannedBatch:
    """Read one entry of the offset log; sources that are not Kafka are passed over."""
    _, about, *sources = text.splitlines()
    ends: dict[str, dict[int, int]] = {}
    beats = next((int(line) for line in sources if line.isdigit()), None)
    for line in sources:
        source = json.loads(line) if line.startswith("{") else None
        if isinstance(source, dict):
            for topic, partitions in source.items():
                ends[topic] = {int(number): end for number, end in partitions.items()}
    return PlannedBatch(batch_id, json.loads(about)["batchTimestampMs"], ends, beats)


@dataclass(frozen=True, slots=True)
class OffsetLog:
    """The offset and commit logs below one checkpoint, on any file system Spark can reach."""

    checkpoint: str

    def planned(self, spark: SparkSession, batch_id: int) -> PlannedBatch | None:
        """What Spark planned for ``batch_id``; None when it has no such entry."""
        text = read_text(spark, f"{self.checkpoint}/offsets/{batch_id}")
        return None if text is None else parse_offsets(batch_id, text)

    def first_beat(self, spark: SparkSession) -> int | None:
        """The instant that the heartbeat counts from; it is the third source of the union."""
        text = read_text(spark, f"{self.checkpoint}/sources/2/0")
        last = (text or "").strip().rpartition("\n")[2]
        return int(last) if last.isdigit() else None

    def last_planned(self, spark: SparkSession) -> int | None:
        """Id of the newest planned batch."""
        return max(_numbers(spark, f"{self.checkpoint}/offsets"), default=None)

    def last_committed(self, spark: SparkSession) -> int | None:
        """Id of the newest batch that returned."""
        return max(_numbers(spark, f"{self.checkpoint}/commits"), default=None)


def _numbers(spark: SparkSession, folder: str) -> list[int]:
    return [int(name) for name in names(spark, folder) if name.isdigit()]
