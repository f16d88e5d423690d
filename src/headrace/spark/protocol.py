"""One micro-batch, from Kafka rows to published changes; safe to repeat at any point.

1 append parsed events      one commit, carries the header
2 events + state -> kernel
3 append state + changes    one commit, the atomic point
4 publish what was committed
5 upkeep, plan changes      between batches
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.clock import HOUR
from headrace.engine.door import Doors
from headrace.engine.families import Regrouping
from headrace.engine.mapping import Mapper
from headrace.failpoints import reach
from headrace.messages.memberships import activation_marker
from headrace.plan.diff import bridge, diff
from headrace.plan.model import Plan
from headrace.spark import corrections
from headrace.spark.accepted import publish_accepted
from headrace.spark.commits import Commit, newest_commit
from headrace.spark.course import Course, Report, Surroundings
from headrace.spark.dues import Dues, has_overdue_facts, survey
from headrace.spark.fold import advanced, write_profiles
from headrace.spark.gather import Gathering
from headrace.spark.handover import Backfill, drop_stagings
from headrace.spark.header import GENERATION, Handover, Header, Preparation
from headrace.spark.identities import Known, arrived_links, carry_out, no_links
from headrace.spark.intake import append_events
from headrace.spark.offsets import PlannedBatch
from headrace.spark.publish import (
    Counts,
    count_batch,
    count_topics,
    publish,
    publish_forgotten,
)
from headrace.spark.session import bind_transaction
from headrace.spark.tables import Lake
from headrace.spark.upkeep import APPENDED, compact_bucket, merge_small_files, vacuum_tables

COMPACT_EVERY = 4  # appending batches between two compactions of a bucket
WORTH_COMPACTING = 200_000  # users; up to half as many superseded rows are no burden
MERGE_EVERY = 64  # committing batches between two merges of small files
VACUUM_EVERY = 900  # about half an hour at a trigger of 2 s
TELL_MS = 6 * HOUR  # well within the time that the log of `profiles` keeps what it is told
LOOK_EVERY = 32  # batches between two looks for corrections of which no notice came


def run_batch(rows: DataFrame, batch_id: int, course: Course, around: Surroundings) -> None:
    """Bring one micro-batch through all five steps. Called by Spark for each trigger."""
    spark, lake = rows.sparkSession, around.lake
    if course.unfinished is not None:
        _finish(spark, course.unfinished, course, around)
        course.unfinished = None
    n = course.generation * GENERATION + batch_id
    planned = around.log.planned(spark, batch_id)
    assert planned is not None, "Spark writes the offset log before it runs a batch"
    clock = _Laps()
    header = _header(n, planned, course, around, spark)
    plan = executed_plan(header, around)
    size = _arrived(header, around.control_topic)
    bind_transaction(spark, n)
    clock.lap("plan")
    parsed = _parse(rows, size, header, plan, course, around)
    clock.lap("intake")
    due = _due_users(header, plan, course, around, spark)
    clock.lap("due")
    regrouped = _carry_out_links(spark, header, parsed, course, around)
    reach("after-identities")
    clock.lap("identities")
    counts, by_topic = Counts(), dict[str, Counter[str]]()
    asked = header.handover is not None or header.correcting is not None
    # A table's log forgets: now and then it is told where the stream stands, also in quiet times.
    asked = asked or header.now - course.folded_at >= TELL_MS
    if size or due is not None or regrouped is not None or asked:
        folded = _fold(spark, header, plan, parsed, due, regrouped, course, around)
        clock.lap("fold")
        course.folded_at = header.now
        is_told = course.replays(n) and not folded.is_whole(spark, lake, "profiles")
        counts = _counted(spark, lake, parsed, folded, is_told)
        if parsed is not None and header.ends.keys() - {around.events_topic, around.control_topic}:
            by_topic = count_topics(spark, lake, parsed)
        clock.lap("count")
        publish(spark, lake, counts, around.outlet, parsed, folded)
        if header.handover is not None:
            _publish_activation(header, plan, around)
        if not is_told:
            published = _publish_accepted(spark, plan, parsed, folded, course, around)
            counts = replace(counts, published=published)
        if regrouped is not None and regrouped.forgotten:
            publish_forgotten(spark, lake, regrouped.forgotten, around.outlet)
        reach("after-publish")
        clock.lap("publish")
        _keep_up(spark, course, folded, plan, around)
    if course.known is not None and course.known.forgotten_until is not None:
        course.rounds.after_batch(spark, lake, header, plan.job, around.tombstone_key)
    if course.rounds.under_way is None:  # removal rewrites the same files
        course.rewrites.after_batch(spark, lake, plan.job, header.now)
    counts = replace(counts, ids_lost=counts.ids_lost + course.ids_lost)
    course.newest, course.replay, course.ends, course.ids_lost = header, None, planned.ends, 0
    _remember_due(course, counts, header, around, spark)
    clock.lap("upkeep")
    pending = header.preparing.plan if header.preparing else None
    corrected = regrouped.corrected if regrouped else 0
    built = course.backfill.share if course.backfill else None
    behind = _dues(course).is_behind
    around.report(
        Report(
            header,
            counts,
            size,
            clock.seconds,
            pending,
            corrected,
            built,
            behind,
            course.rounds.ended,
            by_topic,
        )
    )


def _counted(
    spark: SparkSession, lake: Lake, parsed: Commit | None, folded: Commit, is_told: bool
) -> Counts:
    """Count a batch.

    Files are taken away only after it was published: a replay that misses some ``is_told``
    already. It has no changes to tell of, and no repeats to tell from the others.
    """
    if is_told:
        judged = ("accepted", "rejected")
        accepted, rejected = (parsed.rows(verdict=one) if parsed else 0 for one in judged)
        return Counts(accepted=accepted, quarantined=rejected)
    return count_batch(spark, lake, parsed, folded)


def _finish(spark: SparkSession, header: Header, course: Course, around: Surroundings) -> None:
    """Publish the last batch of an earlier generation, whose number no replay will have.

    It may have been published before: all of it may happen twice. Only what segments.v1 holds of
    users it forgot is not taken back: their ids stand nowhere any more.
    """
    lake = around.lake
    folded, parsed = newest_commit(spark, lake, "profiles"), newest_commit(spark, lake, "events")
    if folded is None or folded.header.n != header.n:
        return
    parsed = parsed if parsed is not None and parsed.header.n == header.n else None
    bind_transaction(spark, header.n)
    is_told = not folded.is_whole(spark, lake, "profiles")
    counts = _counted(spark, lake, parsed, folded, is_told)
    publish(spark, lake, counts, around.outlet, parsed, folded)
    if header.handover is not None:
        _publish_activation(header, around.plan(header.plan), around)
    if not is_told:
        plan = executed_plan(header, around)
        _publish_accepted(spark, plan, parsed, folded, course, around)


def executed_plan(header: Header, around: Surroundings) -> Plan:
    """The plan a batch runs: while the next one is prepared, its slots are folded already."""
    plan = around.plan(header.plan)
    if header.preparing is None:
        return plan
    return bridge(plan, around.plan(header.preparing.plan))


def _header(
    n: int, planned: PlannedBatch, course: Course, around: Surroundings, spark: SparkSession
) -> Header:
    if course.replay is not None and course.replays(n):
        return course.replay
    before = course.newest
    now = max(before.now if before else 0, planned.at)
    header = Header(
        n=n,
        now=now,
        plan=before.plan if before else "",
        starts=course.ends,
        ends=planned.ends,
        parked=course.parked,
    )
    told = header.ends.get(around.control_topic) != header.starts.get(around.control_topic)
    header = _with_plan(header, before, told, course, around, spark)
    linked = before.linked if before else -1
    # States and the history being prepared for them stay under the same ids meanwhile.
    if header.preparing is not None or header.handover is not None:
        return replace(header, linked_before=linked, linked=linked)
    # One asking is carried out to its end before the next is looked for.
    if not course.corrections and (told or course.batches % LOOK_EVERY == 0):
        course.corrections = corrections.asked(spark, around.lake)
    correcting = course.corrections[0] if course.corrections else None
    return replace(header, linked_before=linked, linked=n, correcting=correcting)


def _with_plan(
    header: Header,
    before: Header | None,
    told: bool,
    course: Course,
    around: Surroundings,
    spark: SparkSession,
) -> Header:
    """Decide which plan ``header``'s batch runs: the same, one being prepared, or a new one."""
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
    preparing = before.preparing
    if preparing is None or preparing.plan != target.hash:
        if has_overdue_facts(around.lake.read(spark, "profiles"), now=before.now):
            return header  # their time was before: history would hold them, and their rows do
        preparing = Preparation(target.hash, since=header.n, until=before.now)
    backfill = course.backfill
    if backfill is None or (backfill.plan.hash, backfill.before) != (target.hash, preparing.since):
        backfill = Backfill(
            target,
            frozenset(change.added_slots),
            preparing.since,
            preparing.until,
            around.tombstone_key,
        )
        backfill.start(spark, around.lake)
        course.backfill = backfill
    if backfill.is_done and preparing.since < header.n:
        course.backfill = None
        return replace(
            header,
            plan=target.hash,
            handover=Handover(replaces=current.hash, staged_before=preparing.since),
        )
    return replace(header, preparing=preparing)


def _arrived(header: Header, control: str) -> int:
    """How many Kafka rows of events the batch holds, by its offsets."""
    return sum(
        end - header.starts.get(topic, {}).get(number, 0)
        for topic, ends in header.ends.items()
        for number, end in ends.items()
        if topic != control
    )


def _doors(header: Header, plan: Plan, around: Surroundings) -> Doors:
    """Which topics this batch's rows may be of.

    What was read of a stream that the plan has ended is still mapped as it was.
    """
    streams = {stream.topic: stream for stream in plan.streams}
    if header.handover is not None and header.handover.replaces is not None:
        for stream in around.plan(header.handover.replaces).streams:
            streams.setdefault(stream.topic, stream)
    return Doors(around.events_topic, {topic: Mapper(of) for topic, of in streams.items()})


def _committed(
    course: Course, n: int, table: str, spark: SparkSession, around: Surroundings
) -> Commit | None:
    """What an earlier life of batch ``n`` committed to ``table``. Asked only of a replay."""
    if not course.replays(n):
        return None
    commit = newest_commit(spark, around.lake, table)
    return commit if commit is not None and commit.header.n == n else None


def _parse(
    rows: DataFrame,
    size: int,
    header: Header,
    plan: Plan,
    course: Course,
    around: Surroundings,
) -> Commit | None:
    if not size:
        return None
    spark = rows.sparkSession
    commit = _committed(course, header.n, "events", spark, around)
    if commit is None:
        reach("before-events")
        append_events(
            rows.where(F.col("topic") != around.control_topic),  # the heartbeat has none
            lake=around.lake,
            header=header,
            catalog=plan.catalog,
            retention_ms=plan.job.retention_ms,
            doors=_doors(header, plan, around),
            size=size,
        )
        reach("after-events")
        commit = newest_commit(spark, around.lake, "events")
    return commit


def _due_users(
    header: Header, plan: Plan, course: Course, around: Surroundings, spark: SparkSession
) -> DataFrame | None:
    profiles = around.lake.read(spark, "profiles")
    if course.dues is None:
        course.dues, course.users = survey(profiles)
    return course.dues.users(profiles, now=header.now, limit=plan.job.due_limit)


def _carry_out_links(
    spark: SparkSession, header: Header, parsed: Commit | None, course: Course, around: Surroundings
) -> Regrouping | None:
    lake = around.lake
    known = _known(spark, course, around)
    if header.linked != header.n:
        return None
    links = no_links()
    if header.linked_before + 1 < header.n or (parsed and parsed.rows(verdict="accepted")):
        links = arrived_links(spark, lake, header, parsed, header.linked_before)
    replay = course.replays(header.n)
    key = around.tombstone_key
    change = carry_out(spark, lake, header, links, known, key, replay=replay)
    if header.correcting is None or _committed(course, header.n, "profiles", spark, around):
        return change
    return corrections.carried_out(spark, lake, header.correcting, change)


def _fold(
    spark: SparkSession,
    header: Header,
    plan: Plan,
    parsed: Commit | None,
    due: DataFrame | None,
    regrouped: Regrouping | None,
    course: Course,
    around: Surroundings,
) -> Commit:
    commit = _committed(course, header.n, "profiles", spark, around)
    if commit is not None:
        _dues(course).unknown()
        return commit
    given = Gathering(spark, header, plan, parsed, course, around).given(due, regrouped)
    if given.whole:
        _dues(course).everybody(header.now)
    reach("before-profiles")
    write_profiles(
        advanced(given, plan=plan, now=header.now, n=header.n),
        lake=around.lake,
        header=header,
        buckets=plan.job.buckets,
        whole=given.whole,
    )
    reach("after-profiles")
    commit = newest_commit(spark, around.lake, "profiles")
    assert commit is not None, "this batch has just committed to profiles"
    if given.whole:
        course.users, course.appended, course.appends = commit.rows(), 0, 0
    else:
        course.appended += commit.rows()
        course.appends += 1
    return commit


def _dues(course: Course) -> Dues:
    assert course.dues is not None, "known since this batch looked for due users"
    return course.dues


def _publish_activation(header: Header, plan: Plan, around: Surroundings) -> None:
    assert header.handover is not None
    replaced = header.handover.replaces
    old = around.plan(replaced).versions if replaced else {}
    marker = activation_marker(header.n, header.now, old=old, new=plan.versions)
    reach("before-activation-marker")
    around.outlet.marker(marker, f"activate:{header.n}")
    reach("after-activation-marker")


def _publish_accepted(
    spark: SparkSession,
    plan: Plan,
    parsed: Commit | None,
    folded: Commit,
    course: Course,
    around: Surroundings,
) -> int:
    if not plan.published or parsed is None or not parsed.rows(verdict="accepted"):
        return 0
    return publish_accepted(
        spark,
        around.lake,
        parsed,
        folded,
        types=plan.published,
        known=_known(spark, course, around),
        secret=around.tombstone_key,
        send=around.outlet.accepted,
    )


def _known(spark: SparkSession, course: Course, around: Surroundings) -> Known:
    if course.known is None:
        course.known = Known.of(spark, around.lake)
    return course.known


def _remember_due(
    course: Course, counts: Counts, header: Header, around: Surroundings, spark: SparkSession
) -> None:
    profiles = around.lake.read(spark, "profiles")
    _dues(course).had_their_turn(profiles, now=header.now, next_due=counts.next_due)


def _keep_up(
    spark: SparkSession, course: Course, folded: Commit, plan: Plan, around: Surroundings
) -> None:
    lake, header = around.lake, folded.header
    course.batches += 1
    # What has been handed over, and what backfills left that were given up.
    is_time = header.handover is not None or course.batches % MERGE_EVERY == 0
    if is_time and course.backfill is None and header.preparing is None:
        drop_stagings(spark, lake)
    if header.correcting is not None:
        corrections.drop(spark, lake, header.correcting)
        course.corrections = [one for one in course.corrections if one != header.correcting]
    buckets = plan.job.buckets
    enough = max(course.users, WORTH_COMPACTING)
    if course.appends >= COMPACT_EVERY or course.appended * 2 * buckets >= enough:
        # One bucket at a time: a full round leaves at most half as many superseded rows as users.
        if course.appends:
            course.bucket = (course.bucket + 1) % buckets
            course.ids_lost += compact_bucket(
                spark,
                lake,
                bucket=course.bucket,
                now=header.now,
                horizon_ms=plan.job.horizon_ms,
            )
        course.appended, course.appends = 0, 0
    # Both rewrite the same files: one at a time.
    if course.batches % MERGE_EVERY == 0 and course.rounds.under_way is None:
        for name in APPENDED:
            merge_small_files(spark, lake, name)
    if course.batches % VACUUM_EVERY == 0:
        vacuum_tables(spark, lake)


class _Laps:
    """Seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now
