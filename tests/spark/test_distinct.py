"""Repeats in files: Spark keeps the same one of them as the kernel."""

from __future__ import annotations

import pyarrow as pa

from headrace.engine.evaluate import without_repeats
from headrace.spark.evaluate import distinct
from headrace.spark.session import Session

COLUMNS = ("user_id", "event_id", "ts", "type", "properties")
ROWS = [
    ("ann", "e1", 5, "login", "{}"),
    ("ann", "e1", 5, "purchase", '{"amount":1}'),  # the smaller JSON, the greater type
    ("ann", "e2", 9, "login", "{}"),
    ("ann", "e2", 8, "purchase", "{}"),
    ("bob", "e1", 7, "login", "{}"),
    ("bob", None, 7, "login", "{}"),
    ("bob", None, 7, "login", "{}"),
]


def test_of_repeats_that_differ_both_engines_keep_the_same(spark: Session):
    frame = spark.createDataFrame(
        ROWS, "user_id string, event_id string, ts bigint, type string, properties string"
    )
    by_spark = [tuple(row) for row in distinct(frame).select(*COLUMNS).collect()]
    table = pa.table(dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True)))
    by_kernel = [tuple(row[name] for name in COLUMNS) for row in without_repeats(table).to_pylist()]
    assert sorted(by_spark, key=str) == sorted(by_kernel, key=str)
    assert ROWS[1] in by_kernel and ROWS[0] not in by_kernel
