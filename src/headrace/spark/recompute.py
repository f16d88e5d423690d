"""Batch over what the stream has stored: memberships at an instant, and whether both agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.evaluate import looked_at
from headrace.engine.identity import LINKS
from headrace.engine.parity import audited
from headrace.plan.model import Plan
from headrace.spark.evaluate import (
    FACT_COLUMNS,
    FACTS_PER_GROUP,
    evaluate_facts,
    identified,
    named_members,
    plan_members,
)
from headrace.spark.fold import STATE_INPUT, brought_together, by_group
from headrace.spark.header import Header
from headrace.spark.members import sizes, write_members
from headrace.spark.start import Newest
from headrace.spark.statements import MEMBER
from headrace.spark.tables import Lake
from headrace.spark.tombstones import Tombstones

USERS_PER_GROUP = 20_000
FINDING = "side string, segment string, user_id string, count bigint"


@dataclass(frozen=True, slots=True)
class Parity:
    """How many memberships batch and stream agree on, and the first of those they do not.

    ``sizes`` are the members of each segment by the facts; ``states`` counts the users whose
    state is another than the facts make it, whether that shows in a membership yet or not.
    """

    compared: int
    differences: int
    states: int
    sizes: Mapping[str, int]
    only_stream: tuple[tuple[str, str], ...]
    only_batch: tuple[tuple[str, str], ...]


def recomputed(
    spark: SparkSession,
    lake: Lake,
    *,
    plan: Plan,
    header: Header,
    at: int,
    statements: Mapping[str, str] | None = None,
    tombstones: Tombstones | None = None,
) -> DataFrame:
    """Memberships (segment, user_id) at ``at`` from the stored events up to batch ``header.n``,
    under the identities that the stream knew then.

    ``statements`` are segments in SQL beside the plan, by id; ``tombstones`` the `needed` ones.
    """
    if not statements:
        events = _stored(spark, lake, header)
        facts = identified(events, at=at, tombstones=tombstones)
        return plan_members(facts, plan=plan, at=at, facts=events.count())
    facts = lake.facts(spark, horizon_ms=plan.job.horizon_ms)
    known = facts.where(_carried_out(header) & (F.col("ts") <= at))
    return evaluate_facts(known, plan=plan, at=at, statements=statements, tombstones=tombstones)


@dataclass(frozen=True)
class Memberships:
    """Who is in what at ``at`` by the events up to a batch: under plans, and statements beside."""

    spark: SparkSession
    lake: Lake
    header: Header
    at: int
    plans: tuple[Plan, Plan]
    statements: Mapping[str, str]
    tombstones: Tombstones | None = None

    def sizes(self) -> dict[str, int]:
        """Members by segment."""
        return sizes(self.rows)

    def write(self, folder: str) -> None:
        """One CSV file of (segment, user_id) in ``folder``, replacing what was there."""
        write_members(self.rows, folder)

    @cached_property
    def rows(self) -> DataFrame:
        """The memberships (segment, user_id)."""
        stream, batch = self.plans
        evaluate = partial(
            recomputed,
            self.spark,
            self.lake,
            header=self.header,
            at=self.at,
            tombstones=self.tombstones,
        )
        members = evaluate(plan=stream)
        if batch.programs or self.statements:
            members = members.unionByName(evaluate(plan=batch, statements=self.statements))
        return members.persist()


@dataclass(frozen=True)
class Audit:
    """The stream's states after its newest batch, held against all facts stored up to then.

    The tables move on meanwhile: ``profiles`` is read at the version that batch made.
    """

    spark: SparkSession
    lake: Lake
    newest: Newest
    tombstones: Tombstones | None = None

    def parity(self, segments: Sequence[str] = (), *, shown: int = 20) -> Parity:
        """Both sides counted; only memberships of ``segments``, if any are named."""
        found = self.findings
        if segments:
            found = found.where(F.col("segment").isin(*segments) | (F.col("side") == "state"))
        rows = found.groupBy("side", "segment").agg(
            F.coalesce(F.sum("count"), F.count("*")).alias("count")
        )
        by_side: dict[str, dict[str, int]] = {}
        for row in rows.collect():
            by_side.setdefault(row["side"], {})[row["segment"]] = row["count"]
        alone = [sum(by_side.get(f"only {side}", {}).values()) for side in ("stream", "batch")]
        sizes = by_side.get("batch", {})
        return Parity(
            compared=sum(sizes.values()) + alone[0],
            differences=sum(alone),
            states=sum(by_side.get("state", {}).values()),
            sizes=dict(sorted(sizes.items())),
            only_stream=self._some("only stream", segments, shown) if alone[0] else (),
            only_batch=self._some("only batch", segments, shown) if alone[1] else (),
        )

    @cached_property
    def findings(self) -> DataFrame:
        """What `engine.parity.audited` found in each group of users."""
        plan, header = self.newest.plan, self.newest.header
        events = _stored(self.spark, self.lake, header)
        facts = identified(events, at=header.now, tombstones=self.tombstones)
        state = self.lake.read(self.spark, "profiles", version=self.newest.version)
        state = state.where(F.col("n") <= header.n).select(STATE_INPUT).drop("ids")

        def audit_group(stood: pa.Table, happened: pa.Table) -> pa.Table:
            return audited(stood, happened, plan=plan, now=header.now)

        groups = max(1, -(-events.count() // FACTS_PER_GROUP))
        return brought_together(
            state, facts.select(FACT_COLUMNS), groups, audit_group, FINDING
        ).persist()

    def wrong_users(self) -> DataFrame:
        """The users (user_id) whose state is not what the facts make it."""
        return self.findings.where("side = 'state'").select("user_id")

    def _some(self, side: str, segments: Sequence[str], shown: int) -> tuple[tuple[str, str], ...]:
        rows = self.findings.where(F.col("side") == side)
        if segments:
            rows = rows.where(F.col("segment").isin(*segments))
        first = rows.orderBy("segment", "user_id").limit(shown).collect()
        return tuple((row["segment"], row["user_id"]) for row in first)


def _stored(spark: SparkSession, lake: Lake, header: Header) -> DataFrame:
    """The accepted events that the stream knew after ``header``'s batch."""
    events = lake.read(spark, "events")
    return events.where((F.col("verdict") == "accepted") & _carried_out(header))


def _carried_out(header: Header) -> Column:
    """The facts that the stream had folded by then; joins may wait for a hand-over."""
    until = F.when(F.col("type").isin(*LINKS), header.linked).otherwise(header.n)
    return F.col("n") <= until


def reevaluated(spark: SparkSession, lake: Lake, *, plan: Plan, at: int) -> DataFrame:
    """Memberships (segment, user_id) at ``at`` from the states as they are stored.

    Only slots that they hold count: for a plan that the stream runs, or whose bases it folds.
    """
    state = lake.read(spark, "profiles").select(*STATE_INPUT).drop("ids")
    groups = max(1, -(-state.count() // USERS_PER_GROUP))

    def evaluate_group(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = list(batches)
        if rows:
            found = looked_at(pa.Table.from_batches(rows), plan=plan, at=at)
            yield from named_members(found, plan).to_batches()

    return by_group(state, groups).mapInArrow(evaluate_group, MEMBER)
