"""How far Spark is: by the tasks of one thread's jobs, which are never fewer than before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import functions as F

from headrace.spark.session import Session, plain_session
from headrace.spark.work import Work

TASKS = 8


def slowly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        time.sleep(0.15)
        yield batch


def test_the_share_grows_with_the_tasks_of_the_thread_and_of_nobody_else(spark: Session):
    session = plain_session(spark)
    work = Work(session, "history")
    counted, seen = threading.Event(), []

    def run() -> None:
        work.begin()
        session.range(100).repartition(2).agg(F.count("id")).collect()
        counted.set()
        work.foresee(work.tasks + TASKS)
        rows = session.range(0, 1_000, numPartitions=TASKS)
        rows.mapInArrow(slowly, "id bigint").write.format("noop").mode("overwrite").save()

    thread = threading.Thread(target=run)
    thread.start()
    assert counted.wait(60)
    while thread.is_alive():
        seen.append(work.share)
        time.sleep(0.05)
    assert seen == sorted(seen)
    assert len({share for share in seen if 0 < share < 1}) >= 3, seen
    assert work.share == 1.0
    tasks = work.tasks
    spark.range(10).count()
    assert work.tasks == tasks, "this thread's jobs are its own"
