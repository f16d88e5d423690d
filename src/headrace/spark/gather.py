"""Step 2 of a batch: the facts and the state rows that the kernel is to bring together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.families import ANEW, Regrouping
from headrace.engine.identity import FORGOTTEN
from headrace.engine.standing import Begun
from headrace.plan.diff import diff
from headrace.plan.model import Plan
from headrace.spark.commits import Commit
from headrace.spark.course import Course, Surroundings
from headrace.spark.fold import Given, groups_for, kernel_events
from headrace.spark.handover import staging, staging_table
from headrace.spark.header import Handover, Header
from headrace.spark.identities import identified, moved_rows, moved_users, retold_facts

FACTS_RETOLD = 100  # about so many facts a user whose state begins anew has


@dataclass(frozen=True, slots=True)
class Gathering:
    """One batch on its way into the kernel, under ``plan``."""

    spark: SparkSession
    header: Header
    plan: Plan
    parsed: Commit | None
    course: Course
    around: Surroundings

    def given(self, due: DataFrame | None, regrouped: Regrouping | None) -> Given:
        """Everybody's state, or that of whom the batch concerns, and the facts for it."""
        profiles = self.around.lake.read(self.spark, "profiles")
        events, groups = self._events(), groups_for(self._arrived, self.plan.job.buckets)
        if self.header.handover is not None:
            return self._handed_over(self.header.handover, events, profiles, groups)
        given = Given(events, profiles, groups, begun=self._begun())
        # When most users are touched it is cheaper to write everybody anew, which leaves the
        # table compact, than to pick out the touched ones.
        if self._arrived >= self.course.users and regrouped is None:
            return replace(given, whole=True)
        touched = events.select("user_id")
        if due is not None:
            touched = touched.union(due)
        if regrouped is not None:
            touched = touched.union(moved_users(self.spark, regrouped, "joins"))
        given = replace(given, state=profiles.join(touched, "user_id", "left_semi"))
        return given if regrouped is None else self._with_moved(given, profiles, regrouped)

    @property
    def _arrived(self) -> int:
        return self.parsed.rows(verdict="accepted") if self.parsed else 0

    def _events(self) -> DataFrame:
        read = self.parsed or Commit(self.header, ())
        rows = read.read(self.spark, self.around.lake, "events", verdict="accepted")
        # Without any, identities need no look.
        return self._identified(rows) if self._arrived else self._kernel_events(rows)

    def _kernel_events(self, rows: DataFrame) -> DataFrame:
        return kernel_events(rows, self.plan.event_types, self.plan.published)

    def _identified(self, rows: DataFrame) -> DataFrame:
        known, around = self.course.known, self.around
        assert known is not None, "looked up before anything is folded"
        facts = self._kernel_events(rows)
        return identified(self.spark, facts, around.lake, known, around.tombstone_key)

    def _handed_over(
        self, handover: Handover, events: DataFrame, profiles: DataFrame, groups: int
    ) -> Given:
        """A hand-over looks at everybody, and adds the history that was staged for it."""
        state = profiles
        if handover.staged_before is not None:
            table = staging_table(self.header.plan, handover.staged_before)
            staged = staging(self.spark, self.around.lake, table)
            state = profiles.unionByName(staged, allowMissingColumns=True)
        old = self.around.plan(handover.replaces) if handover.replaces else None
        return Given(
            events,
            state,
            max(groups, groups_for(self.course.users, self.plan.job.buckets)),
            whole=True,
            diff=diff(old, self.plan),
            begun=self._begun(),
        )

    def _with_moved(self, given: Given, profiles: DataFrame, regrouped: Regrouping) -> Given:
        """``given``, and the rows and facts of users whose identity changes."""
        events, lake, job = given.events, self.around.lake, self.plan.job
        if regrouped.retold:
            told = retold_facts(
                self.spark, lake, regrouped, before=self.header.n, horizon_ms=job.horizon_ms
            )
            # Counted when they arrived: without a sender they repeat nothing.
            again = self._identified(told).withColumn("sent_id", F.lit(None).cast("string"))
            events = events.unionByName(again.where(F.col("type") != FORGOTTEN))
        elsewhere = F.broadcast(moved_users(self.spark, regrouped, *ANEW))
        state = given.state.join(elsewhere, "user_id", "left_anti").unionByName(
            moved_rows(self.spark, profiles, regrouped), allowMissingColumns=True
        )
        facts = self._arrived + FACTS_RETOLD * len(regrouped.retold)
        return replace(given, events=events, state=state, groups=groups_for(facts, job.buckets))

    def _begun(self) -> Begun | None:
        """The slots whose history is being prepared, or is handed over in this batch."""
        header, plan = self.header, self.around.plan
        if header.preparing is not None:
            old, new, since = header.plan, header.preparing.plan, header.preparing.since
        elif header.handover is not None and header.handover.staged_before is not None:
            assert header.handover.replaces is not None, "history is added to an earlier plan"
            old, new, since = header.handover.replaces, header.plan, header.handover.staged_before
        else:
            return None
        return Begun(frozenset(diff(plan(old), plan(new)).added_slots), since)
