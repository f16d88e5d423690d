"""Steps 2 and 3 of a batch: events and the state they touch -> new state rows, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from headrace.engine.compact import OF_ITS_BATCH, merge
from headrace.engine.families import MOVES_SCHEMA
from headrace.engine.history import stage
from headrace.engine.regroup import step
from headrace.engine.standing import Begun
from headrace.failpoints import reach
from headrace.plan.diff import PlanDiff
from headrace.plan.model import Plan
from headrace.spark.header import Header
from headrace.spark.tables import Lake

EVENT_COLUMNS = [
    "sent_id", "event_id", "type", "ts", "properties", "partition", "offset", "at",
    "topic",
]  # fmt: skip
STATE = (
    "user_id string, n bigint, at bigint, layout int, traits string, tiles binary, logs string,"
    " stays string, members binary, ids binary, pending string, next_due bigint, first_seen bigint,"
    " changes string, duplicates int, folded int, repeated string, ids_lost int"
)
STATE_COLUMNS = [field.split()[0] for field in STATE.split(",")]
# What the kernel reads of a state row.
STATE_INPUT = [name for name in STATE_COLUMNS if name not in OF_ITS_BATCH]
# Where a row of another origin goes, and why: see `families.MOVES_SCHEMA`.
MOVE = [name for name in MOVES_SCHEMA.names if name != "user_id"]
# One task for a trickle, one per bucket for a flood: a group is held in memory whole.
TRICKLE = 5_000


def user_hash() -> Column:
    """The hash that places a user in a bucket and a group; it must never change."""
    return F.xxhash64("user_id")


def groups_for(events: int, buckets: int) -> int:
    """How many kernel groups a batch of ``events`` is cut into; always in step with buckets."""
    if events < TRICKLE:
        return 1
    return buckets * max(1, round(events / (buckets * 60_000)))


def kernel_events(
    rows: DataFrame, used_types: tuple[str, ...], published: tuple[str, ...] = ()
) -> DataFrame:
    """Rows of ``events`` with the columns the kernel takes.

    Properties travel only for the types the plan uses; the others still count as duplicates
    and make their users known. A fact ahead of its batch keeps them in any case: another plan may
    run when its time comes. Of ``published`` types the repeats are to be named.
    """
    used = F.col("type").isin(*used_types, "traits") | (F.col("ts") > F.col("at"))
    return rows.select(
        "user_id",
        F.col("user_id").alias("sent_id"),
        "event_id",
        "type",
        "ts",
        F.when(used, F.col("properties")).alias("properties"),
        "partition",
        "offset",
        "at",
        F.when(F.col("type").isin(list(published)), F.col("topic")).alias("topic"),
    )


@dataclass(frozen=True, slots=True)
class Given:
    """What the kernel gets of a batch: facts, state rows, and how many groups to cut them into.

    With ``whole`` the state is everybody's and so is the answer: one row per user, for a batch
    that replaces the table. Else the rows of touched and due users, for a batch that appends;
    some of them may have the columns of MOVE.
    """

    events: DataFrame
    state: DataFrame
    groups: int
    whole: bool = False
    diff: PlanDiff | None = None
    begun: Begun | None = None


def advanced(given: Given, *, plan: Plan, now: int, n: int) -> DataFrame:
    """The state rows to write after batch ``n``."""
    diff, begun, whole = given.diff, given.begun, given.whole
    columns = [*STATE_INPUT, *(name for name in MOVE if name in given.state.columns)]

    def advance_group(stood: pa.Table, happened: pa.Table) -> pa.Table:
        result = step(stood, happened, plan=plan, now=now, n=n, diff=diff, begun=begun)
        if whole:
            result = merge(stood, result, now=now, horizon_ms=plan.job.horizon_ms)
        return result.select(STATE_COLUMNS)

    return brought_together(
        given.state.select(columns), given.events, given.groups, advance_group, STATE
    )


def brought_together(
    state: DataFrame,
    events: DataFrame,
    groups: int,
    kernel: Callable[[pa.Table, pa.Table], pa.Table],
    schema: str,
) -> DataFrame:
    """What ``kernel`` makes of the state rows and the facts of each group of whole users."""
    columns = state.columns
    facts = _fact_columns(events)

    def run_group(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        both = list(batches)
        if not both:
            return
        rows = pa.Table.from_batches(both)
        is_event = rows["is_event"]
        happened = rows.filter(is_event).select(["user_id", *(f"event_{c}" for c in facts)])
        happened = happened.rename_columns(["user_id", *facts])
        stood = rows.filter(pc.invert(is_event)).select(columns)
        yield from kernel(stood, happened).to_batches()

    return by_group(_side_by_side(events, state), groups).mapInArrow(run_group, schema)


def staged(
    events: DataFrame, *, plan: Plan, slots: frozenset[int], now: int, n: int, groups: int
) -> DataFrame:
    """The whole history of every user -> staging rows with the tiles of ``slots`` only."""

    def stage_group(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = list(batches)
        if not parts:
            return
        reach("mid-backfill")
        rows = stage(pa.Table.from_batches(parts), plan=plan, slots=slots, now=now, n=n)
        yield from rows.select(STATE_COLUMNS).to_batches()

    return by_group(events, groups).mapInArrow(stage_group, STATE)


def by_group(rows: DataFrame, groups: int) -> DataFrame:
    """``rows`` in ``groups`` partitions of whole users."""
    # Partition = group: the kernel sees a group whole without Spark sorting rows by a key first.
    return rows.repartitionById(groups, F.pmod(user_hash(), F.lit(groups)).cast("int"))


def _fact_columns(events: DataFrame) -> list[str]:
    """What the kernel takes of the facts; who only looks at states does not know all of it."""
    return [name for name in EVENT_COLUMNS if name in events.columns]


def _side_by_side(events: DataFrame, state: DataFrame) -> DataFrame:
    """One frame of both kinds of rows, so that one shuffle brings a user's together."""
    happened = events.select(
        F.lit(True).alias("is_event"),
        "user_id",
        *(F.col(c).alias(f"event_{c}") for c in _fact_columns(events)),
    )
    stood = state.select(F.lit(False).alias("is_event"), *state.columns)
    return happened.unionByName(stood, allowMissingColumns=True)


def write_profiles(
    rows: DataFrame, *, lake: Lake, header: Header, buckets: int, whole: bool
) -> None:
    """Write the batch's state rows. This commit is the batch's atomic point."""
    (
        rows.withColumn("bucket", F.pmod(user_hash(), F.lit(buckets)).cast("int"))
        .write.format("delta")
        .mode("overwrite" if whole else "append")
        .option("userMetadata", header.to_json())
        .save(lake.path("profiles"))
    )
