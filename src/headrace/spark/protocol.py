"""One micro-batch, from Kafka rows to published changes; safe to repeat at any point.

1 append parsed events      one commit, carries the header
2 events + state -> kernel
3 append state + changes    one commit, the atomic point
4 publish what was committed
5 upkeep, plan changes      between batches
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.messages.memberships import activation_marker
from headrace.plan.diff import PlanDiff, bridge, diff
from headrace.plan.model import Plan
from headrace.spark.fold import (
    accepted_events,
    advanced,
    append_profiles,
    due_users,
    groups_for,
)
from headrace.spark.handover import Backfill, drop_staging, staging
from headrace.spark.header import GENERATION, Handover, Header
from headrace.spark.intake import append_events
from headrace.spark.offsets import OffsetLog, PlannedBatch, TopicOffsets
from headrace.spark.publish import Counts, Outlet, count_batch, publish, publish_marker
from headrace.spark.session import bind_transaction
from headrace.spark.start import Start, newest_header
from headrace.spark.tables import Lake
from headrace.spark.upkeep import compact_bucket, merge_small_files, vacuum

MERGE_EVERY = 64  # committing batches between two merges of small files
VACUUM_EVERY = 900  # about half an hour at a trigger of 2 s


@dataclass(frozen=True, slots=True)
class Report:
    """What one batch did and how long each step took, in seconds."""

    header: Header
    counts: Counts
    events: int
    seconds: dict[str, float]
    pending_plan: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything a batch reaches beyond its rows."""

    lake: Lake
    log: OffsetLog
    outlet: Outlet
    events_topic: str
    control_topic: str
    partitions: int
    # The plan to run, as Postgres says; True when control.v1 has just said that it changed.
    target: Callable[[bool], Plan]
    # A plan by its hash, from where it outlives Postgres being down.
    plan: Callable[[str], Plan]
    report: Callable[[Report], None]


@dataclass(slots=True)
class Course:
    """What the driver remembers from batch to batch. All of it can be read back from headers."""

    generation: int
    newest: Header | None
    replay: Header | None
    batches: int = 0
    earliest_due: int | None = None
    due_is_known: bool = False
    backfill: Backfill | None = None
    ends: TopicOffsets = field(default_factory=dict)
    retired_staging: str | None = None

    @staticmethod
    def after(start: Start) -> Course:
        """The course that continues from where ``start`` found the tables."""
        ends = start.starting_offsets or (start.newest.ends if start.newest else {})
        return Course(start.generation, start.newest, start.newest, ends=ends)


def run_batch(rows: DataFrame, batch_id: int, course: Course, around: Surroundings) -> None:
    """Bring one micro-batch through all five steps. Called by Spark for each trigger."""
    spark = rows.sparkSession
    n = course.generation * GENERATION + batch_id
    planned = around.log.planned(spark, batch_id)
    assert planned is not None, "Spark writes the offset log before it runs a batch"
    clock = _Laps()
    header = _header(n, planned, course, around, spark)
    plan = executed_plan(header, around)
    size = _arrived(header, around.events_topic)
    bind_transaction(spark, n)
    clock.lap("plan")
    if size and not _committed(course, header, "events", spark, around):
        values = rows.where(F.col("topic") == around.events_topic)
        append_events(
            values,
            lake=around.lake,
            header=header,
            catalog=plan.catalog,
            retention_ms=plan.job.retention_ms,
            size=size,
        )
    clock.lap("intake")
    due = _is_due(header.now, course, around, spark, plan)
    counts = Counts()
    committed = bool(size) or due or header.handover is not None
    if committed:
        if not _committed(course, header, "profiles", spark, around):
            _fold(spark, header, plan, size, due, around)
        clock.lap("fold")
        counts = count_batch(spark, around.lake, n)
        clock.lap("count")
        publish(spark, around.lake, header, counts, around.outlet)
        if header.handover is not None:
            _publish_activation(spark, header, plan, around)
        clock.lap("publish")
    course.newest, course.replay, course.ends = header, None, planned.ends
    _remember_due(course, counts, due, header, around, spark)
    if committed:
        course.batches += 1
        _keep_up(spark, course, header, plan, around)
    clock.lap("upkeep")
    around.report(Report(header, counts, size, clock.seconds, header.target))


def executed_plan(header: Header, around: Surroundings) -> Plan:
    """The plan a batch runs: while the next one is prepared, its slots are folded already."""
    plan = around.plan(header.plan)
    return plan if header.target is None else bridge(plan, around.plan(header.target))


def _header(
    n: int, planned: PlannedBatch, course: Course, around: Surroundings, spark: SparkSession
) -> Header:
    replayed = course.replay
    if replayed is not None and replayed.n == n:
        return replayed
    before = course.newest
    now = max(before.now if before else 0, planned.at)
    header = Header(
        n=n, now=now, plan=before.plan if before else "", starts=course.ends, ends=planned.ends
    )
    return _with_plan(header, before, course, around, spark)


def _with_plan(
    header: Header,
    before: Header | None,
    course: Course,
    around: Surroundings,
    spark: SparkSession,
) -> Header:
    """Decide which plan ``header``'s batch runs: the same, one being prepared, or a new one."""
    told = header.ends.get(around.control_topic) != header.starts.get(around.control_topic)
    target = around.target(told)
    if before is None:
        return replace(header, plan=target.hash, handover=Handover(replaces=None))
    if target.hash == before.plan:
        course.backfill = None
        return header
    current = around.plan(before.plan)
    change = diff(current, target)
    if not change.added_slots:
        return replace(header, plan=target.hash, handover=Handover(replaces=current.hash))
    since = before.folding_since if before.target == target.hash else None
    if since is None:
        since = header.n
    backfill = course.backfill
    if backfill is None or backfill.plan.hash != target.hash or backfill.before != since:
        backfill = Backfill(target, frozenset(change.added_slots), since, header.now)
        backfill.start(spark, around.lake)
        course.backfill = backfill
    if backfill.is_done and since < header.n:
        course.backfill = None
        return replace(
            header,
            plan=target.hash,
            handover=Handover(replaces=current.hash, staged_before=since),
        )
    return replace(header, target=target.hash, folding_since=since)


def _arrived(header: Header, topic: str) -> int:
    """How many Kafka rows of ``topic`` the batch holds, by its offsets."""
    starts = header.starts.get(topic, {})
    return sum(end - starts.get(number, 0) for number, end in header.ends.get(topic, {}).items())


def _committed(
    course: Course, header: Header, table: str, spark: SparkSession, around: Surroundings
) -> bool:
    """Did an earlier life of this batch commit to ``table``? Asked only of a replay."""
    if course.replay is None or course.replay.n != header.n:
        return False
    newest = newest_header(spark, around.lake, table)
    return newest is not None and newest.n >= header.n


def _is_due(
    now: int, course: Course, around: Surroundings, spark: SparkSession, plan: Plan
) -> bool:
    if not course.due_is_known:
        row = around.lake.read(spark, "profiles").agg(F.min("next_due").alias("due")).collect()[0]
        course.earliest_due, course.due_is_known = row["due"], True
    if course.earliest_due is None or course.earliest_due > now:
        return False
    profiles = around.lake.read(spark, "profiles")
    return bool(due_users(profiles, now=now, limit=1).take(1))


def _fold(
    spark: SparkSession, header: Header, plan: Plan, size: int, due: bool, around: Surroundings
) -> None:
    lake = around.lake
    profiles = lake.read(spark, "profiles")
    events = accepted_events(spark, lake, header.n, plan.event_types)
    if not size:
        events = events.limit(0)
    change: PlanDiff | None = None
    groups = groups_for(size, plan.job.buckets)
    if header.handover is not None:
        replaced = header.handover.replaces
        change = diff(around.plan(replaced) if replaced else None, plan)
        state = profiles
        if header.handover.staged_before is not None:
            rows = staging(spark, lake, _staging_table(header))
            state = profiles.unionByName(rows, allowMissingColumns=True)
        groups = max(groups, plan.job.buckets)
    else:
        touched = events.select("user_id")
        if due:
            touched = touched.union(due_users(profiles, now=header.now, limit=plan.job.due_limit))
            groups = max(groups, 2)
        state = profiles.join(touched.distinct(), "user_id", "left_semi")
    rows = advanced(
        events, state, plan=plan, now=header.now, n=header.n, diff=change, groups=groups
    )
    append_profiles(rows, lake=lake, header=header, buckets=plan.job.buckets)


def _staging_table(header: Header) -> str:
    assert header.handover is not None
    return f"staging_{header.plan[:16]}_{header.handover.staged_before}"


def _publish_activation(
    spark: SparkSession, header: Header, plan: Plan, around: Surroundings
) -> None:
    assert header.handover is not None
    replaced = header.handover.replaces
    old = around.plan(replaced).versions if replaced else {}
    marker = activation_marker(header.n, header.now, old=old, new=plan.versions)
    publish_marker(spark, header, around.outlet, marker, around.partitions)


def _remember_due(
    course: Course,
    counts: Counts,
    due: bool,
    header: Header,
    around: Surroundings,
    spark: SparkSession,
) -> None:
    """Keep a lower bound of the earliest due instant, so that quiet batches scan nothing."""
    known = [due for due in (course.earliest_due, counts.next_due) if due is not None]
    course.earliest_due = min(known, default=None)
    overdue = course.earliest_due is not None and course.earliest_due <= header.now
    if overdue and not due:
        # Only superseded rows are left behind the bound: look for the next instant ahead.
        row = (
            around.lake.read(spark, "profiles")
            .where(F.col("next_due") > header.now)
            .agg(F.min("next_due").alias("due"))
            .collect()[0]
        )
        course.earliest_due = row["due"]


def _keep_up(
    spark: SparkSession, course: Course, header: Header, plan: Plan, around: Surroundings
) -> None:
    lake = around.lake
    if header.handover is not None and header.handover.staged_before is not None:
        drop_staging(spark, lake, _staging_table(header))
    compact_bucket(
        spark,
        lake,
        bucket=course.batches % plan.job.buckets,
        now=header.now,
        horizon_ms=plan.job.horizon_ms,
    )
    if course.batches % MERGE_EVERY == 0:
        for name in ("events", "transitions", "quarantine"):
            merge_small_files(spark, lake, name)
    if course.batches % VACUUM_EVERY == 0:
        vacuum(spark, lake, "profiles")


class _Laps:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now
