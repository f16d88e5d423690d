"""``headrace evaluate --engine spark``: the batch path in a Spark session of this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters
from headrace.plan.registry import MemoryRegistry
from headrace.rules.folder import load_rules
from headrace.rules.source import Rules
from headrace.spark.evaluate import evaluate_lines, read_lines
from headrace.spark.session import Session, open_session


def evaluate(
    folder: Path, files: Sequence[str], at: int
) -> tuple[list[tuple[str, str]], Mapping[str, int]]:
    """Sorted (segment, user) memberships at ``at``, and how many lines were refused by reason."""
    rules = load_rules(folder)
    spark = open_session("headrace-evaluate", master="local[*]", tables=False)
    try:
        return evaluated(spark, rules, files, at)
    finally:
        spark.stop()


def evaluated(
    spark: Session, rules: Rules, files: Sequence[str], at: int
) -> tuple[list[tuple[str, str]], Mapping[str, int]]:
    """`evaluate` in a session that goes on."""
    versions = [SegmentVersion(segment, 1) for segment in rules.segments if not segment.sql]
    statements = {segment.id: segment.sql for segment in rules.segments if segment.sql}
    plan = build_plan(versions, rules.catalog, MemoryRegistry(), JobParameters())
    lines = read_lines(spark, files)
    found = evaluate_lines(lines, plan=plan, at=at, statements=statements)
    rows = found.members.orderBy("segment", "user_id").toLocalIterator()
    return [(row["segment"], row["user_id"]) for row in rows], found.refused
