"""What the streaming job asks of Spark in its first minute, on tables of its own.

``spark-submit first_minute.py FOLDER`` needs no server. `embedded.class_archive` keeps the classes
that a JVM has loaded by then, for the JVMs of real jobs to begin with. A job in reserve keeps
itself warm by it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, Row

from headrace.clock import system_clock
from headrace.errors import OperatorError
from headrace.messages.segments import SegmentMember
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters
from headrace.plan.registry import MemoryRegistry
from headrace.rules.yaml import parse_catalog, parse_segment
from headrace.spark.course import Course, Surroundings
from headrace.spark.offsets import OffsetLog, PlannedBatch
from headrace.spark.protocol import run_batch
from headrace.spark.publish import Outlet
from headrace.spark.session import Session, open_session
from headrace.spark.start import find_start
from headrace.spark.tables import Lake

TOPIC = "events"
BATCHES = 5  # the fifth compacts
# Kept warm: so many batches one after the other, then one now and then, before Python's workers
# are idle for the minute after which Spark ends them.
WARM_AFTER = 30
LATER = 20.0
BATCHES_OF_ONE_FOLDER = 300
LOOK_EVERY = 0.05
PATIENCE_SECONDS = 300
CATALOG = """
apiVersion: headrace/v1
kind: Catalog
events: {order: {properties: {amount: {type: decimal}}}}
"""
SEGMENT = """
apiVersion: headrace/v1
kind: Segment
metadata: {id: buyers, name: Buyers, owner: nobody}
spec: {match: {event: order, sum: amount, within: 7 days, gt: 1}}
"""
# Mostly orders of ever new users; traits, joins and garbage take the other ways, and deletions,
# the longest way of all, when the others are known.
VALUE = """
    CASE
    WHEN value % 19 = 3 THEN format_string(
        '{"type":"alias","from":"v%d","to":"u%d","ts":%d}',
        value % 5, value DIV 3, unix_millis(timestamp))
    WHEN value % 19 = 7 THEN format_string(
        '{"type":"traits","user_id":"u%d","ts":%d,"traits":{"country":"DE"}}',
        value DIV 3, unix_millis(timestamp))
    WHEN value > 1200 AND value % 400 = 11 THEN format_string(
        '{"type":"delete","user_id":"u%d","ts":%d}', value DIV 6, unix_millis(timestamp))
    WHEN value % 38 = 13 THEN 'no event'
    ELSE format_string(
        '{"event_id":"e%d","user_id":"u%d","type":"order","ts":%d,"properties":{"amount":9}}',
        value, value DIV 3, unix_millis(timestamp))
    END
"""


@dataclass(frozen=True, slots=True)
class EverMore(OffsetLog):
    """An offset log by which every batch holds events."""

    def planned(self, spark: Session, batch_id: int) -> PlannedBatch | None:
        """One event more than before."""
        return PlannedBatch(batch_id, system_clock(), {TOPIC: {0: batch_id + 1}})


class Nowhere:
    """A sender whose messages go nowhere."""

    def changes(self, user: str, n: int, text: str) -> None:
        """Forget it."""

    def segment(self, member: SegmentMember, identity: str) -> None:
        """Forget it."""

    def no_segment(self, segment: str, user: str) -> None:
        """Forget it."""

    def flush(self) -> None:
        """There is nothing to wait for."""


def dead_letters(rows: Iterator[Row]) -> None:
    """Take them from Spark, and forget them."""
    for _ in rows:
        pass


def first_minute(spark: Session, folder: str) -> None:
    """Some batches of a few events each, from a stream that makes them up, to tables.

    Raises what a batch raised, or OperatorError when they take too long.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    done = _made_up(
        spark,
        folder,
        lambda batches: batches >= BATCHES or time.monotonic() > until,
        lambda _, __: 0.0,
    )
    if done < BATCHES:
        raise OperatorError(f"only {done} batches within {PATIENCE_SECONDS} s")


def keep_warm(spark: Session, is_over: Callable[[], bool]) -> None:
    """Batches now and then, until ``is_over``: the next of a real stream is then a warm one's.

    It pauses twice as long as it works, for another job that has work to do.
    """
    while not is_over():
        with tempfile.TemporaryDirectory(prefix="headrace-warm-") as folder:
            _made_up(
                spark,
                folder,
                lambda batches: batches >= BATCHES_OF_ONE_FOLDER or is_over(),
                lambda batches, took: 2 * took if batches < WARM_AFTER else LATER,
            )


def _made_up(
    spark: Session,
    folder: str,
    is_over: Callable[[int], bool],
    pause: Callable[[int, float], float],
) -> int:
    """Batches to tables in ``folder``, until ``is_over`` says so of their number; the number.

    After each there is a ``pause`` that may go by their number, and the seconds it took.
    """
    lake = Lake(f"{folder}/tables")
    lake.create(spark)
    course = Course.after(find_start(spark, lake, f"{folder}/checkpoints"))
    segment = SegmentVersion(parse_segment(SEGMENT), 1)
    plan = build_plan([segment], parse_catalog(CATALOG), MemoryRegistry(), JobParameters())
    around = Surroundings(
        lake=lake,
        log=EverMore(folder),
        outlet=Outlet(Nowhere, dead_letters, lambda batches: 0, lambda text, name: None),
        events_topic=TOPIC,
        control_topic="control",
        target=lambda told: plan,
        plan=lambda plan_hash: plan,
        report=lambda report: None,
        tombstone_key="of tables that nobody will read",
    )

    def on_batch(rows: DataFrame, batch_id: int) -> None:
        if is_over(course.batches):
            raise _Over  # between two batches: stopping from outside would cut one off
        began = time.monotonic()
        run_batch(rows, batch_id, course, around)
        ended = time.monotonic()
        until = ended + pause(course.batches, ended - began)
        while time.monotonic() < until and not is_over(course.batches):
            time.sleep(LOOK_EVERY)

    made_up = spark.readStream.format("rate").option("rowsPerSecond", "20").load()
    columns = (
        f"cast({VALUE} as binary) as value",
        f"'{TOPIC}' as topic",
        "0 as partition",
        "value as offset",
    )
    query = (
        made_up.selectExpr(*columns)
        .writeStream.foreachBatch(on_batch)
        .option("checkpointLocation", f"{folder}/checkpoint")
        .trigger(processingTime="200 milliseconds")
        .start()
    )
    try:
        query.awaitTermination()
    except StreamingQueryException as failure:
        if _Over.__name__ not in str(failure):
            raise
    return course.batches


class _Over(Exception):
    """Raised inside a micro-batch that must not begin."""


if __name__ == "__main__":
    session = open_session("headrace-first-minute")
    first_minute(session, sys.argv[1])
    session.stop()
