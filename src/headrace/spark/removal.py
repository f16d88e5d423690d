"""Rows of the forgotten out of the tables: what deletions carried out up to a batch took.

A MERGE says in Delta's log which columns it compared, and never a value: a DELETE would write the
very ids there. Batches append meanwhile; Delta lets both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
from delta.exceptions import DeltaConcurrentModificationException
from delta.tables import DeltaMergeBuilder
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from headrace.engine.erasure import DATED_SCHEMA, names_in, remembered
from headrace.spark.tables import Lake, TableName, newest_rows
from headrace.spark.tombstones import Tombstones

PLACE = ("topic", "partition", "offset", "n")
NAMED = "topic string, partition int, offset bigint, n bigint, at bigint, user_id string"
ATTEMPTS = 3  # others write here too: evaluations, and who forgets old ones


@dataclass(frozen=True)
class Removal:
    """Everything that deletions carried out up to batch ``n`` took, where it still lies."""

    spark: SparkSession
    lake: Lake
    secret: str
    n: int

    def run(self) -> None:
        """Rewrite the files that hold such rows. What is written is small, what is read is not."""
        steps: tuple[Callable[[], None], ...] = (
            self._facts,
            lambda: self._refused("events"),
            lambda: self._refused("quarantine"),
            self._transitions,
            self._evaluations,
        )
        for step in steps:
            _insist(step)

    def _facts(self) -> None:
        rows = self._rows("events").where("verdict = 'accepted'")
        users = self._forgotten
        if not _any(rows.join(F.broadcast(users), "user_id").where("ts <= until")):
            return
        condition = (
            "row.verdict = 'accepted' AND row.user_id = of.user_id AND row.ts <= of.until"
            f" AND row.n <= {self.n}"
        )
        self._merge("events", users, condition).whenMatchedDelete().execute()

    def _refused(self, table: TableName) -> None:
        """Refused messages that name who is forgotten: those from before, or all if he stayed away.

        They say nothing reliable about when; a name in one that came later may mean someone new.
        """

        def name(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                names = [sorted(names_in(raw)) for raw in batch["raw"].to_pylist()]
                counts = [len(found) for found in names]
                rows = pa.array([row for row, count in enumerate(counts) for _ in range(count)])
                told = batch.drop_columns(["raw"]).take(rows.cast(pa.int64()))
                users = pa.array([one for found in names for one in found], pa.string())
                yield from pa.table(
                    [*told.columns, users], [*told.schema.names, "user_id"]
                ).to_batches()

        rows = self._rows(table).where("raw IS NOT NULL").select(*PLACE, "at", "raw")
        named = self._tombstones.among(rows.mapInArrow(name, NAMED))
        back = self._forgotten.where("latest > until").select("user_id")
        doomed = (
            named.where("at <= until")
            .select(*PLACE)
            .union(named.join(F.broadcast(back), "user_id", "left_anti").select(*PLACE))
        )
        doomed = self._held(doomed.distinct())
        if _any(doomed):
            condition = " AND ".join(f"row.{column} = of.{column}" for column in PLACE)
            self._merge(table, doomed, condition).whenMatchedDelete().execute()

    def _transitions(self) -> None:
        """Of a segment that a forgotten user is in all the same, it says: since the deletion."""
        rows = self._rows("transitions")
        users = self._among(rows)
        newest = Window.partitionBy("user_id", "segment").orderBy(F.col("n").desc())
        old = rows.join(F.broadcast(users), "user_id").where("n <= carried_out")
        stays = (F.row_number().over(newest) == 1) & (F.col("change") == "enter")
        doomed = old.withColumn("stays", stays).where("NOT stays OR at < carried_out_at")
        doomed = self._held(doomed.select("id", "user_id", "stays", "carried_out_at"))
        if not _any(doomed):
            return
        since = "of.carried_out_at"
        told = {"at": since, "effective_at": since, "measures": "'{}'"}
        (
            self._merge("transitions", doomed, "row.id = of.id AND row.user_id = of.user_id")
            .whenMatchedUpdate("of.stays", {**told, "day": f"to_date(timestamp_millis({since}))"})
            .whenMatchedDelete()
            .execute()
        )

    def _evaluations(self) -> None:
        rows = self._rows("batch_members")
        users = self._among(rows.where("user_id IS NOT NULL"))
        if _any(rows.join(F.broadcast(users), "user_id").where("n < carried_out")):
            condition = "row.user_id = of.user_id AND row.n < of.carried_out"
            self._merge("batch_members", users, condition).whenMatchedDelete().execute()

    @cached_property
    def _tombstones(self) -> Tombstones:
        return Tombstones(self.lake, self.secret, before=self.n + 1)

    @cached_property
    def _forgotten(self) -> DataFrame:
        """The forgotten of whom facts are stored, and the ts of their ``latest``."""
        accepted = self._rows("events").where("verdict = 'accepted'")
        senders = accepted.groupBy("user_id").agg(F.max("ts").alias("latest"))
        return self._held(self._tombstones.among(senders))

    def _among(self, rows: DataFrame) -> DataFrame:
        return self._held(self._tombstones.among(rows.select("user_id").distinct()))

    def _rows(self, table: TableName) -> DataFrame:
        return self.lake.read(self.spark, table).where(F.col("n") <= self.n)

    def _held(self, rows: DataFrame) -> DataFrame:
        """A few rows, looked up once: Delta reads the source of a MERGE more than once."""
        return self.spark.createDataFrame(rows.toArrow())

    def _merge(self, table: TableName, source: DataFrame, condition: str) -> DeltaMergeBuilder:
        delta = self.lake.delta(self.spark, table)
        return delta.alias("row").merge(source.alias("of"), condition)


def forget_links(spark: SparkSession, lake: Lake, *, n: int) -> None:
    """Rewrite ``identities`` without what deletions carried out up to batch ``n`` took.

    Batches judge families by what they read here: this runs between them.
    """
    rows = lake.read(spark, "identities")
    newest = newest_rows(rows)
    concerned = newest.where("forgotten IS NOT NULL").select("family").distinct()
    users = newest.join(concerned, "family", "left_semi").select("user_id")
    told = rows.join(users, "user_id", "left_semi").select(*DATED_SCHEMA.names)
    before = told.toArrow().cast(DATED_SCHEMA)
    after = remembered(before, n=n)
    if sorted(before.to_pylist(), key=str) == sorted(after.to_pylist(), key=str):
        return
    others = rows.join(users, "user_id", "left_anti").select(*DATED_SCHEMA.names)
    kept = others.unionByName(spark.createDataFrame(after))
    kept.write.format("delta").mode("overwrite").save(lake.path("identities"))


def _any(rows: DataFrame) -> bool:
    return not rows.isEmpty()


def _insist(step: Callable[[], None]) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            step()
        except DeltaConcurrentModificationException:
            if attempt == ATTEMPTS:
                raise
        else:
            return
