"""The batch path: the kernel over files of events, spread by Spark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from headrace.engine.evaluate import counting, state_at
from headrace.engine.identity import (
    FORGOTTEN,
    LINKS,
    apply_identities,
    links_of,
    resolve,
)
from headrace.engine.state import members_of
from headrace.plan.model import Plan
from headrace.spark.fold import by_group
from headrace.spark.intake import parsed
from headrace.spark.statements import MEMBER, statement_members
from headrace.spark.tombstones import Tombstones

# One group of this many facts keeps the kernel's arrays in the processor's caches.
FACTS_PER_GROUP = 100_000
FACT = (
    "user_id string, sent_id string, event_id string, type string, ts bigint, properties string,"
    " partition int, offset bigint, at bigint"
)
FACT_COLUMNS = [field.split()[0] for field in FACT.split(",")]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Memberships as (segment, user_id), and how many lines were refused for which reason."""

    members: DataFrame
    refused: dict[str, int]


def read_lines(spark: SparkSession, files: Sequence[str]) -> DataFrame:
    """Lines of files as the rows a Kafka topic would give, bytes untouched."""
    lines = spark.read.option("lineSep", "\n").text(list(files))
    return lines.where(F.trim("value") != "").select(
        F.col("value").cast("binary").alias("value"),
        F.lit("file").alias("topic"),
        F.lit(0).alias("partition"),
        F.monotonically_increasing_id().alias("offset"),
    )


def evaluate_lines(
    lines: DataFrame, *, plan: Plan, at: int, statements: Mapping[str, str] | None = None
) -> Evaluated:
    """Who is in which segment of ``plan`` at ``at``, from Kafka-like rows in any order.

    ``statements`` are segments in SQL beside the plan, by id.
    """
    judged = parsed(lines, catalog=plan.catalog, now=None, retention_ms=None).persist()
    refused = {
        row["reason"]: row["count"]
        for row in judged.where("verdict = 'rejected'").groupBy("reason").count().collect()
    }
    accepted = judged.where((F.col("verdict") == "accepted") & (F.col("ts") <= at))
    facts = distinct(accepted).withColumn("at", F.lit(at).cast("long"))
    return Evaluated(evaluate_facts(facts, plan=plan, at=at, statements=statements), refused)


def evaluate_facts(
    facts: DataFrame,
    *,
    plan: Plan,
    at: int,
    statements: Mapping[str, str] | None = None,
    tombstones: Tombstones | None = None,
) -> DataFrame:
    """Accepted rows of ``events`` up to ``at``, no repeats -> memberships (segment, user_id).

    ``statements`` are segments in SQL beside the plan, by id; ``tombstones`` as for `identified`.
    """
    rows = identified(facts, at=at, tombstones=tombstones).where(F.col("type") != FORGOTTEN)
    if not statements:
        return plan_members(rows, plan=plan, at=at, facts=facts.count())
    rows = rows.persist()
    members = plan_members(rows, plan=plan, at=at, facts=rows.count())
    return members.unionByName(statement_members(rows, statements=statements, at=at))


def plan_members(rows: DataFrame, *, plan: Plan, at: int, facts: int) -> DataFrame:
    """Facts under canonical ids -> memberships (segment, user_id) of ``plan`` at ``at``.

    ``facts`` says about how many they are. Repeats, forgotten ones and those later than ``at``
    may be among them: the kernel sees whole users, which spares Spark a shuffle.
    """
    groups = max(1, -(-facts // FACTS_PER_GROUP))

    def evaluate_group(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = list(batches)
        if parts:
            happened = pa.Table.from_batches(parts)
            happened = counting(happened, at=at, horizon_ms=plan.job.horizon_ms)
            state = state_at(happened, plan=plan, at=at)
            yield from named_members(state, plan).to_batches()

    return by_group(rows, groups).mapInArrow(evaluate_group, MEMBER)


def state_members(latest: DataFrame, *, plan: Plan) -> DataFrame:
    """One state row per user -> memberships (segment, user_id) as the stream holds them."""

    def name_members(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from named_members(pa.Table.from_batches([batch]), plan).to_batches()

    return latest.select("user_id", "members").mapInArrow(name_members, MEMBER)


def named_members(state: pa.Table, plan: Plan) -> pa.Table:
    """The memberships in ``state`` with their segments' names."""
    found = members_of(state, plan)
    versions = pa.array([program.version_id for program in plan.programs], pa.int64())
    names = pa.array([program.segment for program in plan.programs], pa.string())
    segments = names.take(pc.index_in(found["version_id"], value_set=versions))
    return pa.table({"segment": segments, "user_id": found["user_id"]})


def distinct(accepted: DataFrame) -> DataFrame:
    """Rows of files without repeats, whenever they came; of repeats that differ the earliest."""
    same = Window.partitionBy("user_id", "event_id").orderBy("ts", "properties", "type")
    first = (
        accepted.where("event_id IS NOT NULL AND type != 'alias'")
        .withColumn("_repeat", F.row_number().over(same))
        .where("_repeat = 1")
        .drop("_repeat")
    )
    return first.unionByName(accepted.where("event_id IS NULL OR type = 'alias'"))


def identified(facts: DataFrame, *, at: int, tombstones: Tombstones | None = None) -> DataFrame:
    """Facts under the canonical ids of ``at``; those forgotten are of type FORGOTTEN.

    ``tombstones`` say who is where the joins and deletions of the forgotten are gone from the
    facts. By them the forgotten stay so at any ``at``.
    """
    links = links_of(facts.where(F.col("type").isin(*LINKS)).toArrow())
    if tombstones is not None:
        links += tombstones.deletions(facts.sparkSession, links)
        sent = facts.withColumn("sent_id", F.col("user_id"))
        facts = tombstones.marked(sent, F.col("n") > tombstones.erased)
    ordinary = facts.where(~F.col("type").isin(*LINKS))
    if not links:  # everybody goes by his own id: nothing for Python to look up
        return ordinary.withColumn("sent_id", F.col("user_id")).select(FACT_COLUMNS)
    identities = resolve(links, at=at)

    def identify(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = apply_identities(pa.Table.from_batches([batch]), identities)
            yield from rows.select(FACT_COLUMNS).to_batches()

    return ordinary.mapInArrow(identify, FACT)
