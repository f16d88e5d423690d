"""The batch evaluation over stored events, held against the stream's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headrace.clock import format_instant, parse_instant
from headrace.errors import OperatorError
from headrace.plan.build import SegmentVersion, batch_plan
from headrace.plan.model import Plan
from headrace.plan.usage import held_segments
from headrace.settings import Settings
from headrace.spark.recompute import compare, recomputed
from headrace.spark.session import open_session
from headrace.spark.start import newest_batch
from headrace.spark.tables import Lake
from headrace.store import Store


def run(settings: Settings, *, at: str | None, segments: Sequence[str], output: str | None) -> int:
    """Evaluate the plan of the newest batch at an instant; 1 when batch and stream disagree.

    Beside it those segments that are in batch only, of which the stream knows nothing.
    Without ``at`` the instant is the newest batch's now, where both must hold the same members.
    """
    asked = None if at is None else _instant(at)
    spark = open_session("headrace-recompute")
    lake = Lake(settings.tables_root)
    header, plan = newest_batch(spark, lake)
    batch, statements = _beside(settings, plan)
    if segments:
        known = {one.segment for one in (*plan.programs, *batch.programs)} | statements.keys()
        unknown = set(segments) - known
        if unknown:
            raise OperatorError(f"not in the active plan: {', '.join(sorted(unknown))}")
        plan, batch = _only(plan, segments), _only(batch, segments)
        statements = {name: text for name, text in statements.items() if name in segments}
    instant = header.now if asked is None else asked
    kept = recomputed(spark, lake, plan=plan, header=header, at=instant).persist()
    members = kept
    if batch.programs or statements:
        beside = recomputed(
            spark, lake, plan=batch, header=header, at=instant, statements=statements
        )
        members = kept.unionByName(beside).persist()
    for row in members.groupBy("segment").count().orderBy("segment").collect():
        print(f"{row['segment']}\t{row['count']}")
    if output is not None:
        members.orderBy("segment", "user_id").coalesce(1).write.mode("overwrite").option(
            "header", "true"
        ).csv(output)
    if at is not None:
        print(f"{members.count()} memberships at {format_instant(instant)}")
        return 0
    parity = compare(spark, lake, kept, plan=plan)
    for side, rows in (("stream", parity.only_stream), ("batch", parity.only_batch)):
        for segment, user in rows:
            print(f"only in {side}: {segment} {user}")
    for segment in held_segments(plan):
        print(f"not compared: {segment}, whose members hang on when batches ran")
    for segment in sorted({program.segment for program in batch.programs} | statements.keys()):
        print(f"not compared: {segment}, batch only (cron)")
    print(f"{parity.differences} differences in {parity.compared} memberships")
    return 1 if parity.differences else 0


def _beside(settings: Settings, plan: Plan) -> tuple[Plan, dict[str, str]]:
    """The active segments that the stream leaves out, under the same job as ``plan``.

    Those in SQL, which are part of no plan, come by id with their text.
    """
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        stored, catalog = store.active_versions(), store.catalog()
    finally:
        store.close()
    versions = [SegmentVersion(one.segment, one.version) for one in stored]
    statements = {one.segment.id: one.segment.sql for one in versions if one.segment.sql}
    return batch_plan(versions, catalog or plan.catalog, plan.job), statements


def _only(plan: Plan, segments: Sequence[str]) -> Plan:
    return replace(plan, programs=tuple(p for p in plan.programs if p.segment in segments))


def _instant(text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise OperatorError(
            f"--at {text!r} is no instant: write it like 2026-01-31T09:30:00Z", code="HR915"
        ) from error
