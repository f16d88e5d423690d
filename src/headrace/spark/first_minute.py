"""What the streaming job asks of Spark in its first minute, on tables of its own.

``spark-submit first_minute.py FOLDER`` needs no server. `embedded.class_archive` keeps the classes
that a JVM has loaded by then, for the JVMs of real jobs to begin with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

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
PATIENCE_SECONDS = 120
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
VALUE = """
    format_string('{"event_id":"e%d","user_id":"u%d","type":"order","ts":%d,"properties":{"amount":9}}',
        value, value % 7, unix_millis(timestamp))
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
    lake = Lake(f"{folder}/tables")
    lake.create(spark)
    course = Course.after(find_start(spark, lake, f"{folder}/checkpoints"))
    segment = SegmentVersion(parse_segment(SEGMENT), 1)
    plan = build_plan([segment], parse_catalog(CATALOG), MemoryRegistry(), JobParameters())
    around = Surroundings(
        lake=lake,
        log=EverMore(folder),
        outlet=Outlet(Nowhere, dead_letters, lambda text, name: None),
        events_topic=TOPIC,
        control_topic="control",
        target=lambda told: plan,
        plan=lambda plan_hash: plan,
        report=lambda report: None,
        tombstone_key="of tables that nobody will read",
    )

    def on_batch(rows: DataFrame, batch_id: int) -> None:
        run_batch(rows, batch_id, course, around)

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
    until = time.monotonic() + PATIENCE_SECONDS
    while query.isActive and course.batches < BATCHES and time.monotonic() < until:
        time.sleep(0.1)
    if (failed := query.exception()) is not None:
        raise failed
    query.stop()
    if course.batches < BATCHES:
        raise OperatorError(f"only {course.batches} batches within {PATIENCE_SECONDS} s")


if __name__ == "__main__":
    session = open_session("headrace-first-minute")
    first_minute(session, sys.argv[1])
    session.stop()
