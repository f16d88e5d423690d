"""The Delta tables: their columns, what each is for, and the views everyone else reads."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    DataType,
    DateType,
    IntegerType,
    LongType,
    StringType,
)

from headrace.engine.identity import LINKS
from headrace.engine.state import CURRENT
from headrace.spark.files import names

TableName = Literal[
    "events",
    "quarantine",
    "profiles",
    "transitions",
    "identities",
    "tombstones",
    "batch_members",
]

TEXT, LONG, INT, BYTES = StringType(), LongType(), IntegerType(), BinaryType()


@dataclass(frozen=True, slots=True)
class Table:
    """One Delta table: columns as (name, type, what it holds)."""

    comment: str
    columns: tuple[tuple[str, DataType, str], ...]
    partitioned_by: tuple[str, ...] = ()
    # Statistics only where a reader prunes by them; never on user ids, which say nothing there.
    statistics_on: tuple[str, ...] = ("n",)
    properties: Mapping[str, str] = field(default_factory=dict)


# A checkpoint of the log takes as long as a small batch: not after every tenth.
CHECKPOINTS = {"delta.checkpointInterval": "50"}
KEEP_A_WEEK = {
    **CHECKPOINTS,
    "delta.deletedFileRetentionDuration": "interval 7 days",
    "delta.logRetentionDuration": "interval 7 days",
}
# Every batch appends here and upkeep rewrites: a week of removed files would be the whole disk.
KEEP_SHORTLY = {
    **CHECKPOINTS,
    "delta.deletedFileRetentionDuration": "interval 1 hour",
    "delta.logRetentionDuration": "interval 1 day",
}

ARRIVAL = (
    ("topic", TEXT, "Kafka topic the row was read from"),
    ("partition", INT, "Kafka partition"),
    ("offset", LONG, "Kafka offset"),
    ("n", LONG, "batch number: generation x 2^40 + Spark's batch id"),
    ("at", LONG, "the batch's now, ms"),
)

TABLES: Mapping[TableName, Table] = {
    "events": Table(
        "Every event that arrived, as parsed once: accepted, or rejected with its reason",
        (
            ("event_id", TEXT, "producer's id; repeats within the horizon do not count"),
            ("user_id", TEXT, "user id as sent"),
            ("type", TEXT, "event type, or traits, alias, delete"),
            ("ts", LONG, "event time, ms"),
            ("properties", TEXT, "canonical JSON of the properties (or traits)"),
            ("verdict", TEXT, "accepted or rejected"),
            ("reason", TEXT, "why it was rejected"),
            ("raw", BYTES, "the value as received, of rejected rows"),
            *ARRIVAL,
            ("day", DateType(), "arrival day"),
        ),
        partitioned_by=("day", "verdict"),
        statistics_on=("n", "at"),
        properties=KEEP_A_WEEK,
    ),
    "quarantine": Table(
        "Rejected events, for whoever repairs them",
        (
            ("reason", TEXT, "stable reason code"),
            ("raw", BYTES, "the value as received"),
            *ARRIVAL,
            ("day", DateType(), "arrival day"),
        ),
        partitioned_by=("day",),
        properties=KEEP_A_WEEK,
    ),
    "profiles": Table(
        "State: one row per user and batch that touched them; the greatest n is the state",
        (
            ("user_id", TEXT, "canonical user id"),
            ("n", LONG, "batch number"),
            ("at", LONG, "the batch's now, ms"),
            ("layout", INT, "how the packed columns are written"),
            ("traits", TEXT, "JSON: trait -> value and ts"),
            ("tiles", BYTES, "packed partial aggregates: slot, tile, value"),
            ("logs", TEXT, "JSON: single events that first, last and sequences keep, by slot"),
            ("stays", TEXT, "JSON: stay -> in or out, and since when"),
            ("members", BYTES, "packed membership bits by version"),
            ("ids", BYTES, "packed hashes of the event ids this batch accepted"),
            ("pending", TEXT, "JSON: accepted facts ahead of now"),
            ("next_due", LONG, "earliest instant at which time alone can change a predicate, ms"),
            (
                "first_seen",
                LONG,
                "now of the first batch with a fact whose time had come, ms; none yet: null",
            ),
            ("changes", TEXT, "the membership message of this batch, if any"),
            ("duplicates", INT, "events of this batch that were repeats"),
            ("folded", INT, "facts of this batch that counted"),
            ("ids_lost", INT, "event ids let go for newer ones: their repeats would count"),
            ("repeated", TEXT, "JSON: where repeats of published types lay; other times null"),
            ("bucket", INT, "hash partition of the user"),
        ),
        partitioned_by=("bucket",),
        statistics_on=("n", "next_due"),
        properties=KEEP_SHORTLY,
    ),
    "transitions": Table(
        "Who entered or left which segment, when and why",
        (
            ("id", TEXT, "hash of segment, version, user and n"),
            ("user_id", TEXT, "canonical user id"),
            ("segment", TEXT, "segment id"),
            ("version", INT, "segment version"),
            ("change", TEXT, "enter or exit"),
            ("at", LONG, "the batch's now, ms"),
            ("effective_at", LONG, "the instant that made it so, ms"),
            ("reason", TEXT, "definition, trait, late, event, time, ..."),
            ("measures", TEXT, "JSON: the measures that support it"),
            ("n", LONG, "batch number"),
            ("day", DateType(), "day of at"),
        ),
        partitioned_by=("day",),
        properties={**KEEP_A_WEEK, "delta.enableChangeDataFeed": "true"},
    ),
    "identities": Table(
        "Who goes by which id: one row per id and change; the greatest n counts",
        (
            ("user_id", TEXT, "user id as sent"),
            ("family", TEXT, "the smallest id ever linked with it"),
            ("canonical", TEXT, "the id it goes by, itself if no other"),
            ("forgotten", LONG, "instant up to which its facts are forgotten, ms"),
            ("links", TEXT, "JSON: the joins and deletions it stands in: ts, type, id, from"),
            ("due", LONG, "when the first of them that is ahead of now comes true, ms"),
            ("n", LONG, "batch number"),
            ("at", LONG, "the batch's now, ms"),
        ),
        properties=KEEP_A_WEEK,
    ),
    "tombstones": Table(
        "Up to when which id is forgotten; the greatest n counts",
        (
            ("key", TEXT, "HMAC-SHA256 of the user id as sent"),
            ("until", LONG, "instant up to and including which its facts are forgotten, ms"),
            ("n", LONG, "batch number"),
            ("at", LONG, "the batch's now, ms"),
        ),
        properties=KEEP_A_WEEK,
    ),
    "batch_members": Table(
        "Members that batch evaluations found, by segment and instant",
        (
            ("user_id", TEXT, "canonical user id; none: the segment was evaluated at that instant"),
            ("segment", TEXT, "segment id"),
            ("at", LONG, "the instant of the evaluation, ms"),
            ("n", LONG, "the newest batch whose events were known to it"),
        ),
        partitioned_by=("segment", "at"),
        properties=KEEP_A_WEEK,
    ),
}


@dataclass(frozen=True, slots=True)
class Lake:
    """The Delta tables under one root."""

    root: str

    def path(self, name: str) -> str:
        """Where table ``name`` lies."""
        return f"{self.root.rstrip('/')}/{name}"

    def has(self, spark: SparkSession, name: str) -> bool:
        """Is there a table ``name``? A folder cut off in its first commit is none."""
        log = names(spark, f"{self.path(name)}/_delta_log")
        return any(one.endswith(".json") and one[:-5].isdigit() for one in log)

    def create(self, spark: SparkSession) -> None:
        """Create the tables that are missing, and columns that earlier releases did not have."""
        with ThreadPoolExecutor(max_workers=len(TABLES)) as pool:
            # Each waits for Spark's planner more than for a core.
            list(pool.map(lambda name: self.complete(spark, name), TABLES))

    def complete(self, spark: SparkSession, name: TableName) -> None:
        """Create table ``name`` if it is missing, and the columns it lacks."""
        table = TABLES[name]
        if not self.has(spark, name):
            self._create(spark, name, table)
            return
        known = self.read(spark, name).columns
        for column, kind, comment in table.columns:
            if column not in known:
                quoted = comment.replace("'", "\\'")
                spark.sql(
                    f"ALTER TABLE delta.`{self.path(name)}` ADD COLUMNS "
                    f"(`{column}` {kind.simpleString()} COMMENT '{quoted}')"
                )

    def _create(self, spark: SparkSession, name: str, table: Table) -> None:
        builder = (
            DeltaTable.createIfNotExists(spark)
            .location(self.path(name))
            .comment(table.comment)
            .property("delta.dataSkippingStatsColumns", ",".join(table.statistics_on))
        )
        for key, value in table.properties.items():
            builder = builder.property(key, value)
        for column, kind, comment in table.columns:
            builder = builder.addColumn(column, kind, comment=comment)
        if table.partitioned_by:
            builder = builder.partitionedBy(*table.partitioned_by)
        builder.execute()

    def read(self, spark: SparkSession, name: str, *, version: int | None = None) -> DataFrame:
        """Table ``name`` as it is now, or was at a version."""
        reader = spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", str(version))
        return reader.load(self.path(name))

    def delta(self, spark: SparkSession, name: str) -> DeltaTable:
        """The handle for history, upkeep and deletes."""
        return DeltaTable.forPath(spark, self.path(name))

    def size(self, spark: SparkSession, name: str) -> int:
        """Bytes of the files of table ``name`` as it is now."""
        detail = self.delta(spark, name).detail().select("sizeInBytes").collect()
        return int(detail[0]["sizeInBytes"])

    def latest_profiles(self, spark: SparkSession, *, version: int | None = None) -> DataFrame:
        """One row per user who is neither merged away nor forgotten: that of the greatest n.

        Of whom all that came still waits for its time is no user yet. At a ``version`` of the
        table, or now.
        """
        newest = newest_rows(self.read(spark, "profiles", version=version))
        return newest.where((F.col("layout") == CURRENT) & F.col("first_seen").isNotNull())

    def facts(
        self, spark: SparkSession, *, horizon_ms: int, users: DataFrame | None = None
    ) -> DataFrame:
        """Accepted events without repeats: the first counts, for ``horizon_ms`` after its arrival.

        Rows without an event id are never repeats, nor are joins and deletions. With ``users``
        (user_id) only what was sent under those ids.
        """
        accepted = self.read(spark, "events").where("verdict = 'accepted'")
        if users is not None:
            accepted = accepted.join(users, "user_id", "left_semi")
        columns = [name for name in accepted.columns if name not in ("reason", "raw", "verdict")]
        arrival = ["n", "partition", "offset"]
        rows = F.sort_array(F.collect_list(F.struct(*arrival, F.struct(*columns).alias("fact"))))
        counted = F.aggregate(
            rows,
            F.array().cast(f"array<struct<{_fields(accepted, columns)}>>"),
            lambda kept, row: F.when(
                (F.size(kept) == 0)
                | (row["fact"]["at"] - F.element_at(kept, -1)["at"] > horizon_ms),
                F.concat(kept, F.array(row["fact"])),
            ).otherwise(kept),
        )
        may_repeat = F.col("event_id").isNotNull() & ~F.col("type").isin(*LINKS)
        named = accepted.where(may_repeat).groupBy("user_id", "event_id")
        fresh = named.agg(F.explode(counted).alias("fact")).select("fact.*")
        return fresh.unionByName(accepted.where(~may_repeat).select(*columns))


def newest_rows(rows: DataFrame) -> DataFrame:
    """One row per user id: that of the greatest n."""
    newest = Window.partitionBy("user_id").orderBy(F.col("n").desc())
    ranked = rows.withColumn("_rank", F.row_number().over(newest))
    return ranked.where("_rank = 1").drop("_rank")


def _fields(frame: DataFrame, columns: list[str]) -> str:
    kinds = dict(frame.dtypes)
    return ",".join(f"`{name}`:{kinds[name]}" for name in columns)
