"""Committing under a batch's header, and what a batch committed, straight from the Delta log.

The stream is its tables' only writer of batches, so the files of batch n are those its commit
added. Reading them by name spares Delta's planning, and keeps every batch's queries the same text:
a filter on n is a new literal, for which Spark compiles new classes, which the JVM then compiles
again (measured: half of all CPU time).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession

from headrace.spark.files import names, read_text
from headrace.spark.header import Header
from headrace.spark.tables import TABLES, Lake, TableName

# Upkeep commits may lie behind a batch's; this far back there is always a batch.
COMMITS_LOOKED_AT = 400


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A data file a commit added, with its rows counted by the writer."""

    path: str
    rows: int
    partition: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a batch: its header, the files it added, the table's version it made."""

    header: Header
    files: tuple[AddedFile, ...]
    version: int | None = None

    def rows(self, **partition: str) -> int:
        """Rows in files of these partition values."""
        return sum(file.rows for file in self._of(partition))

    def read(
        self, spark: SparkSession, lake: Lake, table: TableName, **partition: str
    ) -> DataFrame:
        """The rows of those files; partition columns are left out."""
        kept = [
            (name, kind.simpleString())
            for name, kind, _ in TABLES[table].columns
            if name not in TABLES[table].partitioned_by
        ]
        schema = ", ".join(f"`{name}` {kind}" for name, kind in kept)
        paths = [f"{lake.path(table)}/{file.path}" for file in self._of(partition)]
        if not paths:
            return spark.createDataFrame([], schema)
        return spark.read.schema(schema).parquet(*paths)

    def is_whole(self, spark: SparkSession, lake: Lake, table: TableName) -> bool:
        """Are all its files there? Compaction and VACUUM may have taken some since."""
        there: dict[str, set[str]] = {}
        for file in self.files:
            folder, _, name = file.path.rpartition("/")
            if folder not in there:
                there[folder] = set(names(spark, f"{lake.path(table)}/{folder}"))
            if name not in there[folder]:
                return False
        return True

    def _of(self, partition: Mapping[str, str]) -> list[AddedFile]:
        return [f for f in self.files if all(f.partition.get(k) == v for k, v in partition.items())]


def append(rows: DataFrame, path: str, header: Header) -> None:
    """Append ``rows`` to the table at ``path`` in one commit of the batch."""
    rows.write.format("delta").mode("append").option("userMetadata", header.to_json()).save(path)


def newest_commit(
    spark: SparkSession, lake: Lake, table: str, most: int = COMMITS_LOOKED_AT
) -> Commit | None:
    """The newest commit to ``table`` that carries a batch header, among the last ``most``."""
    folder = f"{lake.path(table)}/_delta_log"
    versions = sorted(
        (name for name in names(spark, folder) if name.endswith(".json") and name[:-5].isdigit()),
        reverse=True,
    )
    for name in versions[:most]:
        commit = _commit(read_text(spark, f"{folder}/{name}") or "", int(name[:-5]))
        if commit is not None:
            return commit
    return None


def _commit(text: str, version: int) -> Commit | None:
    actions = [json.loads(line) for line in text.splitlines()]
    about: dict[str, str] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
    if "userMetadata" not in about:
        return None
    files = tuple(
        AddedFile(
            unquote(added["path"]),
            int(json.loads(added["stats"])["numRecords"]),
            added["partitionValues"],
        )
        for added in (a["add"] for a in actions if "add" in a)
    )
    return Commit(Header.from_json(about["userMetadata"]), files, version)
