"""How far the removal of forgotten users has come."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pyspark.sql import SparkSession

from headrace.clock import Instant
from headrace.spark.files import read_text, write_text
from headrace.spark.tables import Lake

FILE = "_erased.json"


@dataclass(frozen=True, slots=True)
class Erased:
    """The newest round of removal that has ended, from ``began`` to ``ended``.

    Deletions carried out up to batch ``n`` have left no row. -1: the first is still under way.
    """

    n: int
    began: Instant
    ended: Instant

    @staticmethod
    def read(spark: SparkSession, lake: Lake) -> Erased | None:
        """What lies beside the tables."""
        text = read_text(spark, lake.path(FILE))
        return None if text is None else Erased(**json.loads(text))

    def write(self, spark: SparkSession, lake: Lake) -> None:
        """Let it lie beside the tables."""
        write_text(spark, lake.path(FILE), json.dumps(asdict(self)))
