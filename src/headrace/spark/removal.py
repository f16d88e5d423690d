"""Rows of the forgotten out of the tables: what deletions carried out up to a batch took.

Partitions that hold such rows are written anew, as compaction would, while batches append: Delta
then looks only whether others took the same files away, and keeps what came meanwhile. A DELETE or
MERGE would be refused for every append, and a DELETE would write the ids into Delta's log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from delta.exceptions import DeltaConcurrentModificationException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from headrace.engine.erasure import DATED_SCHEMA, names_in, remembered
from headrace.spark.tables import TABLES, Lake, TableName, newest_rows
from headrace.spark.tombstones import Tombstones

PLACE = ["topic", "partition", "offset", "n"]
NAMED = "topic string, partition int, offset bigint, n bigint, at bigint, day date, user_id string"
ATTEMPTS = 3  # evaluations are written by others too


@dataclass(frozen=True)
class Removal:
    """Everything that deletions carried out up to batch ``n`` took, where it still lies."""

    spark: SparkSession
    lake: Lake
    secret: str
    n: int

    def run(self) -> None:
        """Write the partitions anew that hold such rows."""
        self._facts()
        self._refused("events")
        self._refused("quarantine")
        self._transitions()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._evaluations()
                break
            except DeltaConcurrentModificationException:
                if attempt == ATTEMPTS:
                    raise

    def _facts(self) -> None:
        until = F.broadcast(self._forgotten.select("user_id", "until"))
        taken = (F.col("ts") <= F.col("until")) & (F.col("n") <= self.n)
        rows = self._rows("events").where("verdict = 'accepted'")
        self._rewrite(
            "events",
            rows.join(until, "user_id").where(taken),
            lambda rows: rows.join(until, "user_id", "left").where(
                F.col("until").isNull() | ~taken
            ),
        )

    def _refused(self, table: TableName) -> None:
        """Refused messages that name who is forgotten: earlier ones, or all if he never came back.

        They say nothing reliable about when; a name in one that came later may mean someone new.
        """
        rows = self._rows(table).where("raw IS NOT NULL").select(*PLACE, "at", "day", "raw")
        named = self._tombstones.among(rows.mapInArrow(_names, NAMED))
        back = F.broadcast(self._forgotten.where("latest > until").select("user_id"))
        later = named.where("at > until").join(back, "user_id", "left_anti")
        columns = [*PLACE, "day"]
        found = named.where("at <= until").select(*columns).union(later.select(*columns))
        doomed = self._held(found.distinct())
        verdict = {"verdict": "rejected"} if table == "events" else {}
        places = F.broadcast(doomed.select(*PLACE))
        self._rewrite(
            table,
            doomed.withColumns({name: F.lit(value) for name, value in verdict.items()}),
            lambda rows: rows.join(places, PLACE, "left_anti"),
        )

    def _transitions(self) -> None:
        """A membership that a forgotten user has all the same began, it then says, with that."""
        rows = self._rows("transitions")
        old = rows.join(F.broadcast(self._among(rows)), "user_id").where("n <= carried_out")
        newest = Window.partitionBy("user_id", "segment").orderBy(F.col("n").desc())
        stays = (F.row_number().over(newest) == 1) & (F.col("change") == "enter")
        doomed = old.withColumn("stays", stays).where("NOT stays OR at < carried_out_at")
        since = F.col("carried_out_at")
        told = self._held(doomed.select("id", "user_id", "day", "stays", "carried_out_at"))
        marks = F.broadcast(told.drop("day"))

        def without(rows: DataFrame) -> DataFrame:
            joined = rows.join(marks, ["id", "user_id"], "left").where("stays IS NULL OR stays")
            return joined.withColumns(
                {
                    "at": F.coalesce(since, "at"),
                    "effective_at": F.coalesce(since, "effective_at"),
                    "day": F.coalesce(_day(since), "day"),
                    "measures": F.when(since.isNull(), F.col("measures")).otherwise("{}"),
                }
            )

        moved_to = told.where("stays").select(_day(since).alias("day"))
        self._rewrite("transitions", told.select("day").union(moved_to), without)

    def _evaluations(self) -> None:
        rows = self._rows("batch_members")
        users = self._among(rows.where("user_id IS NOT NULL"))
        since = F.broadcast(users.select("user_id", "carried_out"))
        taken = F.col("n") < F.col("carried_out")
        self._rewrite(
            "batch_members",
            rows.join(since, "user_id").where(taken),
            lambda rows: rows.join(since, "user_id", "left").where(
                F.col("carried_out").isNull() | ~taken
            ),
        )

    def _rewrite(
        self, table: TableName, doomed: DataFrame, without: Callable[[DataFrame], DataFrame]
    ) -> None:
        """Let partitions with rows of ``doomed`` hold what ``without`` leaves of theirs."""
        partitions = doomed.select(*TABLES[table].partitioned_by).distinct().collect()
        if not partitions:
            return
        condition = " OR ".join(_is(row.asDict()) for row in partitions)
        # Planned by the write, in its transaction: the rows of that version and no other.
        rows = self.lake.read(self.spark, table)
        (
            without(rows.where(condition))
            .select(*rows.columns)
            .write.format("delta")
            .mode("overwrite")
            .option("replaceWhere", condition)
            .option("dataChange", "false")
            .save(self.lake.path(table))
        )

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
        """A few rows, looked up once."""
        return self.spark.createDataFrame(rows.toArrow())


def _names(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A row for every text in ``raw`` that may be an id."""
    for batch in batches:
        names = [sorted(names_in(raw)) for raw in batch["raw"].to_pylist()]
        place = [row for row, found in enumerate(names) for _ in found]
        told = batch.drop_columns(["raw"]).take(pa.array(place, pa.int64()))
        users = pa.array([one for found in names for one in found], pa.string())
        yield from pa.table([*told.columns, users], [*told.schema.names, "user_id"]).to_batches()


def _day(instant: Column) -> Column:
    return F.to_date(F.timestamp_millis(instant))


def _is(partition: dict[str, Any]) -> str:
    values = (
        f"{name} = {value}" if isinstance(value, int) else f"{name} = '{value}'"
        for name, value in partition.items()
    )
    return f"({' AND '.join(values)})"


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
