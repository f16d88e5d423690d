"""Users whose state a recompute found wrong: it names them, the stream tells their facts anew.

Only the stream writes states. What it writes then is made of all facts up to that very batch, so
neither how long a recompute took nor a correction carried out twice does any harm.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.families import Regrouping, told_again
from headrace.spark.files import names, remove
from headrace.spark.fold import user_hash
from headrace.spark.header import Correction, Header
from headrace.spark.tables import Lake, newest_rows

PREFIX = "staging_corrections_"
USERS_AT_ONCE = 20_000
"""Users that one batch corrects: it holds their names, and all their facts pass through it."""


def ask(users: DataFrame, lake: Lake, header: Header) -> int:
    """Name ``users`` (user_id), whose state was wrong after ``header``'s batch; how many there are.

    One commit, so the stream sees all of them or none.
    """
    count = users.count()
    if count:
        parts = -(-count // USERS_AT_ONCE)
        path = lake.path(f"{PREFIX}{header.n}_{secrets.token_hex(4)}")
        rows = users.withColumn("part", F.pmod(user_hash(), F.lit(parts)).cast("int"))
        rows.coalesce(1).write.format("delta").save(path)
    return count


def asked(spark: SparkSession, lake: Lake) -> list[Correction]:
    """What is still to be corrected, a batch's worth each, the oldest first."""
    found = []
    for table in sorted(name for name in names(spark, lake.root) if name.startswith(PREFIX)):
        if not lake.has(spark, table):
            continue  # cut off before its commit
        parts = [row["part"] for row in lake.read(spark, table).select("part").distinct().collect()]
        last = max(parts, default=-1)
        found += [Correction(table, part, part == last) for part in sorted(parts)]
    return found


def carried_out(
    spark: SparkSession, lake: Lake, correction: Correction, regrouped: Regrouping | None
) -> Regrouping | None:
    """``regrouped`` with those told anew whom the batch is to correct.

    Left out are users whose identity changes in this batch, and those joined to others since they
    were named: their state is part of another's, whom the next recompute looks at.
    """
    named = lake.read(spark, correction.table).where(F.col("part") == correction.part)
    users = {row["user_id"] for row in named.select("user_id").collect()}
    if regrouped is not None:
        users -= {user for name in ("origin", "user_id") for user in _ids(regrouped.moves, name)}
    users -= _gone_into_others(spark, lake, users)
    if not users:
        return regrouped
    change = told_again(sorted(users))
    change = replace(change, retold=tuple(sorted(users | _joined(spark, lake, users))))
    if regrouped is None:
        return change
    return replace(
        regrouped,
        moves=pa.concat_tables([regrouped.moves, change.moves]),
        retold=(*regrouped.retold, *change.retold),
        corrected=change.corrected,
    )


def drop(spark: SparkSession, lake: Lake, correction: Correction) -> None:
    """Forget a table whose last part has been carried out."""
    if correction.is_last:
        remove(spark, lake.path(correction.table))


def _gone_into_others(spark: SparkSession, lake: Lake, users: set[str]) -> set[str]:
    """Those of ``users`` who go by another id."""
    named = spark.createDataFrame(pa.table({"user_id": pa.array(sorted(users), pa.string())}))
    rows = newest_rows(lake.read(spark, "identities").join(F.broadcast(named), "user_id"))
    gone = rows.where("canonical != user_id").select("user_id").collect()
    return {row["user_id"] for row in gone}


def _joined(spark: SparkSession, lake: Lake, users: set[str]) -> set[str]:
    """The ids that were joined to ``users``."""
    named = spark.createDataFrame(pa.table({"canonical": pa.array(sorted(users), pa.string())}))
    rows = newest_rows(lake.read(spark, "identities")).join(F.broadcast(named), "canonical")
    return {row["user_id"] for row in rows.select("user_id").collect()}


def _ids(moves: pa.Table, name: str) -> Sequence[str]:
    ids: list[str] = moves[name].to_pylist()
    return ids
