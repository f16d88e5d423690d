"""Who is due by time alone, found without looking at everybody in every batch."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

# Before every instant there is.
NEVER = -(1 << 62)


@dataclass(slots=True)
class Dues:
    """What the driver knows of ``next_due`` between batches; an instant is in ms.

    A row that was due by ``settled`` has had its turn: it is superseded, or its user was taken
    and nothing came of it. So only rows due since can be somebody's newest, and most of those
    are. The kernel picks each user's newest row itself before it looks at ``next_due``.
    """

    # A lower bound of the earliest due instant; None when no row has one.
    earliest: int | None
    settled: int = NEVER
    # The last batch left some for the next.
    is_behind: bool = False
    _settles: int = NEVER
    _in_vain: bool = False

    def users(self, profiles: DataFrame, *, now: int, limit: int) -> DataFrame | None:
        """Users to take besides the touched ones, some of them twice or in vain; None for nobody.

        When more than ``limit`` may be due, the earliest that are.
        """
        self._settles, self._in_vain, self.is_behind = now, False, False
        if self.earliest is None or self.earliest > now:
            return None
        passed = (F.col("next_due") > self.settled) & (F.col("next_due") <= now)
        found = profiles.where(passed).select("user_id")
        count = found.count()
        if count > limit:
            due = overdue(profiles, now=now)
            if due.count() > limit:
                self._settles, self.is_behind = self.settled, True
            found = due.orderBy("next_due").limit(limit).select("user_id")
        self._in_vain = not count
        return found if count else None

    def everybody(self, now: int) -> None:
        """The batch looks at every user."""
        self._settles, self.is_behind = now, False

    def unknown(self) -> None:
        """The batch is an earlier life's: who had a turn then was decided there."""
        self._settles = self.settled

    def had_their_turn(self, profiles: DataFrame, *, now: int, next_due: int | None) -> None:
        """The batch is done; the earliest of the rows it wrote is due at ``next_due``."""
        self.settled = self._settles
        known = [due for due in (self.earliest, next_due) if due is not None]
        self.earliest = min(known, default=None)
        if self._in_vain and self.earliest is not None and self.earliest <= now:
            # Only superseded rows are left behind the bound: look ahead for the next.
            ahead = profiles.where(F.col("next_due") > now)
            self.earliest = ahead.agg(F.min("next_due").alias("due")).collect()[0]["due"]


def survey(profiles: DataFrame) -> tuple[Dues, int]:
    """What the table says of its users' instants, and about how many users it has."""
    about = profiles.agg(F.min("next_due"), F.approx_count_distinct("user_id"))
    earliest, users = about.collect()[0]
    return Dues(earliest), users


def overdue(profiles: DataFrame, *, now: int) -> DataFrame:
    """Users (user_id, next_due, pending) whose newest row says that they are due by ``now``."""
    candidates = profiles.where(F.col("next_due") <= now).select("user_id").distinct()
    return (
        profiles.select("user_id", "n", "next_due", "pending")
        .join(candidates, "user_id", "left_semi")
        .groupBy("user_id")
        .agg(F.max_by(F.struct("next_due", "pending"), "n").alias("newest"))
        .select("user_id", "newest.*")
        .where(F.col("next_due") <= now)
    )


def has_overdue_facts(profiles: DataFrame, *, now: int) -> bool:
    """Is there a fact that still waits though its time has come, for want of a turn?"""
    return bool(overdue(profiles, now=now).where("pending IS NOT NULL").take(1))
