"""Step 4 of a batch: what its commit says goes out. Everything here may happen twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Protocol

import orjson
import pyarrow as pa
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from headrace.clock import Instant
from headrace.failpoints import reach
from headrace.messages.segments import SegmentMember
from headrace.spark.commits import Commit, append
from headrace.spark.tables import Lake

# The columns of the table in the order of `Moves`.
TRANSITIONS = (
    "id string, user_id string, segment string, version int, change string, at bigint,"
    " effective_at bigint, reason string, measures string, n bigint, day date"
)
KINDS = {"string": pa.string(), "int": pa.int32(), "bigint": pa.int64(), "date": pa.date32()}
SCHEMA = pa.schema(
    [(name, KINDS[kind]) for name, kind in (item.split() for item in TRANSITIONS.split(","))]
)
# Up to this many messages one task sends faster than two can be scheduled.
ONE_TASK = 2_000


class Sender(Protocol):
    """Sends messages from within a Spark task."""

    def changes(self, user: str, n: int, text: str) -> None:
        """One user's changes of batch ``n``, as memberships.v1 has them."""

    def segment(self, member: SegmentMember, identity: str) -> None:
        """The latest of one user and segment, from the transition of that id."""

    def no_segment(self, segment: str, user: str) -> None:
        """Nothing more of one user and segment: compaction may take the key away."""

    def flush(self) -> None:
        """Wait until the broker has everything."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where messages go. All but the last travel to Spark's tasks; that is called beside them."""

    open_sender: Callable[[], Sender]
    # Sends rejected rows (reason, raw, topic, partition, offset).
    dead_letters: Callable[[Iterator[Row]], None]
    # Sends accepted events (`accepted.COLUMNS`) and says how many.
    accepted: Callable[[Iterator[pa.RecordBatch]], int]
    # Puts a marker (text, name) at the end of every partition of memberships.
    marker: Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a batch's events, and what it changed."""

    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    users: int = 0
    messages: int = 0
    published: int = 0
    ids_lost: int = 0
    next_due: int | None = None


def count_batch(spark: SparkSession, lake: Lake, parsed: Commit | None, folded: Commit) -> Counts:
    """Count what a batch's two commits hold."""
    row = (
        folded.read(spark, lake, "profiles")
        .agg(
            F.count("folded").alias("users"),
            F.count("changes").alias("messages"),
            F.coalesce(F.sum("duplicates"), F.lit(0)).alias("duplicates"),
            F.coalesce(F.sum("ids_lost"), F.lit(0)).alias("ids_lost"),
            F.min("next_due").alias("next_due"),
        )
        .collect()[0]
    )
    accepted = parsed.rows(verdict="accepted") if parsed else 0
    return Counts(
        accepted=accepted - row["duplicates"],
        duplicates=row["duplicates"],
        quarantined=parsed.rows(verdict="rejected") if parsed else 0,
        users=row["users"],
        messages=row["messages"],
        ids_lost=row["ids_lost"],
        next_due=row["next_due"],
    )


def count_topics(spark: SparkSession, lake: Lake, parsed: Commit) -> dict[str, Counter[str]]:
    """How many rows of each topic were accepted, as "", or rejected, by their reason."""
    counted: dict[str, Counter[str]] = {}
    for verdict in ("accepted", "rejected"):
        rows = parsed.read(spark, lake, "events", verdict=verdict)
        for row in rows.groupBy("topic", "reason").count().collect():
            counted.setdefault(row["topic"], Counter())[row["reason"] or ""] += row["count"]
    return counted


def publish(
    spark: SparkSession,
    lake: Lake,
    counts: Counts,
    outlet: Outlet,
    parsed: Commit | None,
    folded: Commit,
) -> None:
    """Send a committed batch on: transitions, memberships, segments, quarantine, dead letters."""
    if counts.messages:
        _publish_changes(spark, lake, counts, folded, outlet)
    if counts.quarantined and parsed is not None:
        _publish_rejected(spark, lake, parsed, outlet)


def _publish_changes(
    spark: SparkSession, lake: Lake, counts: Counts, folded: Commit, outlet: Outlet
) -> None:
    """Send each message and append its transitions, in one pass.

    The broker has all messages before the append commits. So a replay finds it committed and
    skips both, or it sends them again.
    """
    open_sender = outlet.open_sender
    changed = folded.read(spark, lake, "profiles").where("changes IS NOT NULL")

    def send_and_list(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sender = open_sender()
        for batch in batches:
            moves = Moves()
            for text in batch["changes"].to_pylist():
                message = orjson.loads(text)
                sender.changes(message["user"], message["n"], text)
                for member, identity in moves.of(message):
                    sender.segment(member, identity)
            yield moves.batch()
            reach("mid-publish")
        sender.flush()

    tasks = 1 if counts.messages < ONE_TASK else 2
    moved = changed.select("changes").coalesce(tasks).mapInArrow(send_and_list, TRANSITIONS)
    append(moved, lake.path("transitions"), folded.header)


def publish_forgotten(
    spark: SparkSession, lake: Lake, forgotten: Mapping[str, Instant | None], outlet: Outlet
) -> None:
    """Take back what segments.v1 holds of users of ``forgotten`` and segments they are not in.

    Every segment they ever were in is looked up: a compacted topic would name them for ever.
    """
    users = pa.array([user for user, until in forgotten.items() if until is not None], pa.string())
    named = F.broadcast(spark.createDataFrame(pa.table({"user_id": users})))
    moved = lake.read(spark, "transitions").join(named, "user_id")
    last = moved.groupBy("user_id", "segment").agg(F.max_by("change", "n").alias("change"))
    open_sender = outlet.open_sender

    def send(rows: Iterator[Row]) -> None:
        sender = open_sender()
        for row in rows:
            sender.no_segment(row["segment"], row["user_id"])
        sender.flush()

    last.where("change = 'exit'").coalesce(1).foreachPartition(send)


@dataclass(slots=True)
class Moves:
    """Rows of ``transitions``, gathered column by column from the messages that tell of them."""

    columns: tuple[list[Any], ...] = field(default_factory=lambda: tuple([] for _ in SCHEMA))
    _days: dict[int, date] = field(default_factory=dict)

    def of(self, message: dict[str, Any]) -> Iterator[tuple[SegmentMember, str]]:
        """Note each transition of a message; gives the membership it leaves, and its id."""
        user, n = message["user"], message["n"]
        append = [column.append for column in self.columns]
        for change in message["changes"]:
            row = (
                change["id"],
                user,
                change["segment"],
                change["version"],
                change["change"],
                change["at"],
                change["effective_at"],
                change["reason"],
                orjson.dumps(change["measures"]).decode(),
                n,
                self._day(change["at"]),
            )
            for put, value in zip(append, row, strict=True):
                put(value)
            member = SegmentMember(
                segment=change["segment"],
                user=user,
                version=change["version"],
                member=change["change"] == "enter",
                since=change["effective_at"],
                n=n,
            )
            yield member, change["id"]

    def _day(self, at: int) -> date:
        if at not in self._days:  # one per batch
            self._days[at] = datetime.fromtimestamp(at / 1000, UTC).date()
        return self._days[at]

    def batch(self) -> pa.RecordBatch:
        """The rows as Arrow."""
        return pa.record_batch(
            [pa.array(of, kind.type) for of, kind in zip(self.columns, SCHEMA, strict=True)],
            schema=SCHEMA,
        )


def _publish_rejected(spark: SparkSession, lake: Lake, parsed: Commit, outlet: Outlet) -> None:
    rejected = (
        parsed.read(spark, lake, "events", verdict="rejected")
        .select("reason", "raw", "topic", "partition", "offset", "n", "at")
        .coalesce(1)
    )
    day = F.to_date(F.timestamp_millis("at"))
    append(rejected.withColumn("day", day), lake.path("quarantine"), parsed.header)
    rejected.foreachPartition(outlet.dead_letters)
