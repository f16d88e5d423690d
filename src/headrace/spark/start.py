"""Where a stream begins: after a crash, with a lost or restored checkpoint, or for the first time.

The headers in Delta are compared with Spark's record of offsets. Where they disagree a new
generation begins at the end of the newest ``profiles`` header.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from headrace.clock import SECOND, Clock, Instant, system_clock
from headrace.errors import OperatorError
from headrace.plan.model import Plan
from headrace.spark.commits import newest_commit
from headrace.spark.header import GENERATION, Header
from headrace.spark.offsets import OffsetLog, PlannedBatch, TopicOffsets
from headrace.spark.plans import KeptPlans
from headrace.spark.session import plain_session
from headrace.spark.tables import Lake

# Upkeep's commits to a small table since the last batch before a death are fewer: a month's.
COMMITS_SINCE = 64


@dataclass(frozen=True, slots=True)
class Start:
    """How this run begins: its generation, its newest batch, and whether it is a new one.

    A new one reads on where ``newest`` has ended; the others where their checkpoint says.
    """

    generation: int
    newest: Header | None
    is_new: bool
    reason: str
    # A new one: what the one before has committed last, and may not have published.
    unfinished: Header | None = None


def newest_header(spark: SparkSession, lake: Lake, name: str) -> Header | None:
    """The header of the newest batch that committed to table ``name``."""
    commit = newest_commit(spark, lake, name)
    if commit is not None:
        return commit.header
    # Further back than a commit is looked for; what the log has cleaned away is gone for good.
    history = lake.delta(spark, name).history().select("userMetadata")
    texts = (row["userMetadata"] for row in history.where("userMetadata IS NOT NULL").collect())
    return max(map(Header.from_json, texts), key=lambda header: header.n, default=None)


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest batch that committed its state, its plan, and the version of ``profiles`` it made.

    The version is None when the log no longer says it.
    """

    header: Header
    plan: Plan
    version: int | None


def newest_batch(spark: SparkSession, lake: Lake) -> Newest:
    """Where the stream stands; raises OperatorError if no batch has run."""
    commit = newest_commit(spark, lake, "profiles")
    header = commit.header if commit else newest_header(spark, lake, "profiles")
    if header is None:
        raise OperatorError(f"no batch has run yet: {lake.root} is empty", code="HR914")
    plan = KeptPlans(spark, lake.root).get(header.plan)
    return Newest(header, plan, commit.version if commit else None)


def decide_start(
    *,
    parsed: Header | None,
    folded: Header | None,
    planned: int | None,
    committed: int | None,
    committed_ends: TopicOffsets,
    replay_ends: TopicOffsets,
    linked: Header | None = None,
    control: str = "",
) -> tuple[bool, str]:
    """Does Spark's checkpoint belong to these tables? (answer, reason)

    ``parsed`` and ``folded`` are the newest headers of events and profiles, ``linked`` that of
    joins and deletions, ``planned`` and ``committed`` the newest ids of Spark's logs,
    ``replay_ends`` the offsets of a batch that was planned and did not return. What was read of
    the topic ``control`` leaves no trace in the tables.
    """
    newest = _newest(parsed, folded, linked)
    if newest is None:
        return (committed is None, "the tables are empty" if committed is None else "tables lost")
    if planned is None:
        return False, "the checkpoint is lost"
    if newest.batch_id > planned:
        return False, "the checkpoint is older than the tables"
    if newest.batch_id == planned and committed != planned:
        same = all(replay_ends.get(topic) == ends for topic, ends in newest.ends.items())
        return same, "replay" if same else "the batch to replay ends elsewhere"
    if committed is not None and newest.batch_id <= committed:
        if parsed is not None and (folded is None or folded.n < parsed.n):
            return False, "profiles lack batches that have returned"
        ends_there = {topic: ends for topic, ends in newest.ends.items() if topic != control}
        same = all(committed_ends.get(topic) == ends for topic, ends in ends_there.items())
        return same, "continue" if same else "the checkpoint is ahead of the tables"
    return True, "continue"


def _newest(*headers: Header | None) -> Header | None:
    return max((h for h in headers if h), key=lambda header: header.n, default=None)


def find_start(
    spark: SparkSession,
    lake: Lake,
    checkpoint_root: str,
    *,
    anew: str = "",
    accepts_loss: bool = False,
    control: str = "",
    clock: Clock = system_clock,
) -> Start:
    """Compare headers with the newest checkpoint; on a mismatch prepare a new generation.

    A new generation deletes the rows of ``events``, and of what was made of its joins and
    deletions, that no ``profiles`` commit covers: they will be read from Kafka again. With a
    reason ``anew`` there always is a new one.

    Raises OperatorError when the log of ``profiles`` no longer says which batch was its last; who
    ``accepts_loss`` takes it to be that of ``events``, and a recompute finds whose state it is not.
    """
    parsed, folded = newest_header(spark, lake, "events"), newest_header(spark, lake, "profiles")
    # A batch without events may have carried out joins and deletions, and died before its state.
    links = (
        newest_commit(spark, lake, name, COMMITS_SINCE) for name in ("identities", "tombstones")
    )
    linked = _newest(*(commit.header for commit in links if commit is not None))
    newest = _newest(parsed, folded, linked)
    generation = newest.generation if newest else 0
    log = OffsetLog(checkpoint(checkpoint_root, generation))
    planned, committed = log.last_planned(spark), log.last_committed(spark)
    last = log.planned(spark, committed) if committed is not None else None
    replay = log.planned(spark, planned) if planned is not None else None
    belongs, reason = decide_start(
        parsed=parsed,
        folded=folded,
        planned=planned,
        committed=committed,
        committed_ends=last.ends if last else {},
        replay_ends=replay.ends if replay else {},
        linked=linked,
        control=control,
    )
    if belongs and _is_behind(log.first_beat(spark), last, replay, clock()):
        belongs, reason = False, "the clock is behind the last batch"
    if anew:
        belongs, reason = False, anew
    if belongs:
        return Start(generation, newest, False, reason)
    following = generation + 1
    while OffsetLog(checkpoint(checkpoint_root, following)).last_planned(spark) is not None:
        following += 1
    base = folded
    if folded is None and newest is not None and _was_folded(spark, lake, newest):
        # To begin as if there had been no batch would delete all events.
        if not accepts_loss:
            raise OperatorError(
                f"the log of {lake.path('profiles')} no longer says which batch was its last; "
                "docs/runbooks/profiles-without-header.md says what to do",
                code="HR915",
            )
        base = newest
    covered = base.n if base else -1
    for name in ("events", "identities", "tombstones"):
        lake.delta(plain_session(spark), name).delete(F.col("n") > covered)
    return Start(following, base, True, reason, folded)


def _was_folded(spark: SparkSession, lake: Lake, newest: Header) -> bool:
    """Has a batch written states? The first one does; every later one comes after it."""
    return newest.n > 0 or lake.read(spark, "profiles").limit(1).count() > 0


def _is_behind(
    first_beat: Instant | None, last: PlannedBatch | None, replay: PlannedBatch | None, now: Instant
) -> bool:
    """Has the heartbeat counted further than the clock would let it count now?

    Spark's source of it then plans a batch that ends before it begins, and fails, every time.
    """
    if last is None or last.beats is None or replay is None or replay.beats is None:
        return False
    if replay.id != last.id:  # planned already: its end, not the clock's, comes next
        return replay.beats < last.beats
    return first_beat is not None and (now - first_beat) // SECOND < last.beats


def checkpoint(root: str, generation: int) -> str:
    """The checkpoint folder of one generation."""
    return f"{root.rstrip('/')}/stream/generation={generation}"


def first_number(generation: int) -> int:
    """The batch number of a generation's batch 0."""
    return generation * GENERATION
