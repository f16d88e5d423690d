"""What a batch is surrounded by, and what the driver remembers from one to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from headrace.clock import Instant
from headrace.plan.model import Plan
from headrace.spark.dues import Dues
from headrace.spark.erased import Erased
from headrace.spark.erasure import Rounds
from headrace.spark.handover import Backfill
from headrace.spark.header import Correction, Header
from headrace.spark.identities import Known
from headrace.spark.offsets import OffsetLog, TopicOffsets
from headrace.spark.opening import Opening
from headrace.spark.publish import Counts, Outlet
from headrace.spark.rewrites import Rewrites
from headrace.spark.start import Start
from headrace.spark.tables import Lake


@dataclass(frozen=True, slots=True)
class Report:
    """What one batch did and how long each step took, in seconds."""

    header: Header
    counts: Counts
    events: int
    seconds: dict[str, float]
    pending_plan: str | None
    corrected: int = 0
    # How much of the pending plan's history is read, from 0 to 1.
    built: float | None = None
    # More users are due than the batch took.
    is_behind: bool = False
    # The newest round of removal that has ended.
    erased: Erased | None = None
    # Where topics of streams are read: see `count_topics`.
    by_topic: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything a batch reaches beyond its rows."""

    lake: Lake
    log: OffsetLog
    outlet: Outlet
    events_topic: str
    control_topic: str
    # The plan to run, as Postgres says; True when control.v1 has just said that it changed.
    target: Callable[[bool], Plan]
    # A plan by its hash, from where it outlives Postgres being down.
    plan: Callable[[str], Plan]
    report: Callable[[Report], None]
    # Makes tombstones unreadable to who has only the tables.
    tombstone_key: str


@dataclass(slots=True)
class Course:
    """What the driver remembers from batch to batch. All of it can be read back from headers."""

    generation: int
    newest: Header | None
    replay: Header | None
    batches: int = 0
    # Known once the first batch has looked.
    dues: Dues | None = None
    known: Known | None = None
    users: int = 0
    # Since the last compaction: rows and commits appended; and the bucket it was.
    appended: int = 0
    appends: int = 0
    bucket: int = 0
    # Event ids that compaction let go for newer ones, not yet reported.
    ids_lost: int = 0
    backfill: Backfill | None = None
    # Of the physical removal of forgotten users.
    rounds: Rounds = field(default_factory=Rounds)
    # What recomputes have asked for and no batch has carried out.
    corrections: list[Correction] = field(default_factory=list)
    # That upkeep asks for.
    rewrites: Rewrites = field(default_factory=Rewrites)
    ends: TopicOffsets = field(default_factory=dict)
    # Where topics of streams that are not read will be read on.
    parked: TopicOffsets = field(default_factory=dict)
    # The now of the batch that last committed its state.
    folded_at: Instant = 0
    # What the generation before this one may not have published.
    unfinished: Header | None = None

    def replays(self, n: int) -> bool:
        """Is batch ``n`` one that an earlier life has begun?"""
        return self.replay is not None and self.replay.n == n

    @staticmethod
    def after(start: Start, opened: Opening | None = None) -> Course:
        """The course that continues from where ``start`` found the tables.

        A new generation begins where its query was ``opened``.
        """
        ends = start.newest.ends if start.newest else {}
        if opened is not None and opened.starting is not None:
            ends = opened.starting
        # Always from the same bucket on, a job that is often started again would never reach some.
        bucket = start.newest.n if start.newest else 0
        return Course(
            start.generation,
            start.newest,
            start.newest,
            ends=ends,
            parked=opened.parked if opened is not None else {},
            bucket=bucket,
            folded_at=start.newest.now if start.newest else 0,
            unfinished=start.unfinished,
        )
