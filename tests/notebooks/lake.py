"""A lake of three users and two segments, with the columns the tables really have.

Runs inside a notebook's kernel, in the session the notebook has opened: one Spark start in all.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructField, StructType

from headrace.engine.state import pack_members, pack_tiles
from headrace.spark.tables import TABLES, Lake

NOON = 1_790_000_000_000
MINUTE = 60_000

# user, segment, change, minutes after noon, reason, measures
MOVES = (
    (
        "ann",
        "high_value",
        "enter",
        0,
        "event",
        '{"sum(purchase.amount) within 30d":"1200"}',
    ),
    (
        "bob",
        "high_value",
        "enter",
        1,
        "event",
        '{"sum(purchase.amount) within 30d":"1001.5"}',
    ),
    ("ann", "german", "enter", 2, "trait", "{}"),
    ("eve", "german", "enter", 2, "trait", "{}"),
    ("ann", "high_value", "exit", 7, "time", '{"sum(purchase.amount) within 30d":"0"}'),
)
# user, country, batch: ann has two rows, of which the newer counts
PROFILES = (("ann", "FR", 1), ("bob", None, 1), ("eve", "DE", 2), ("ann", "DE", 3))


def write_lake(spark: SparkSession, root: str) -> None:
    """Write profiles and transitions under ``root``."""
    lake = Lake(root)
    _append(
        spark,
        lake,
        "transitions",
        [_transition(n, *move) for n, move in enumerate(MOVES)],
    )
    _append(spark, lake, "profiles", [_profile(*profile) for profile in PROFILES])


def _append(spark: SparkSession, lake: Lake, name: str, rows: list[dict]) -> None:
    schema = StructType([StructField(column, kind) for column, kind, _ in TABLES[name].columns])
    # From Arrow: a list of rows would start Python workers for five lines.
    frame = spark.createDataFrame(pa.Table.from_pylist(rows, schema=to_arrow_schema(schema)))
    frame.coalesce(1).write.format("delta").save(lake.path(name))


def _transition(n, user, segment, change, minutes, reason, measures):
    at = NOON + minutes * MINUTE
    return {
        "id": f"{n:016x}",
        "user_id": user,
        "segment": segment,
        "version": 1,
        "change": change,
        "at": at,
        "effective_at": at,
        "reason": reason,
        "measures": measures,
        "n": n,
        "day": datetime.fromtimestamp(at / 1000, UTC).date(),
    }


def _profile(user, country, n):
    traits = f'{{"country":{{"ts":{NOON},"v":"{country}"}}}}' if country else None
    return {
        "user_id": user,
        "n": n,
        "at": NOON + n,
        "layout": 1,
        "traits": traits,
        "tiles": pack_tiles([(0, 0, n)]),
        "members": pack_members([0]),
        "first_seen": NOON,
        "duplicates": 0,
        "folded": 1,
        "bucket": 0,
    }
