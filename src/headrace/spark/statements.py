"""Segments in SQL: statements over the facts of one evaluation, in views of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce

import orjson
import pyarrow as pa
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.traits import latest, plain
from headrace.errors import Place, Problem, RuleError
from headrace.rules.catalog import LIST
from headrace.rules.sql.batch import bound_sql

MEMBER = "segment string, user_id string"
PROFILE = "user_id string, traits string"
READING: Mapping[str, str] = {
    # A value that is no number is NULL, and NULL is in no segment, as everywhere in the language;
    # in Spark's own mode one such event would end the whole evaluation.
    "spark.sql.ansi.enabled": "false",
    # '${env:..}' would be replaced even inside a text, by what the process knows.
    "spark.sql.variable.substitute": "false",
}
"""Settings that Spark reads statements under; their plans keep them."""


def statement_members(rows: DataFrame, *, statements: Mapping[str, str], at: int) -> DataFrame:
    """Facts as the kernel takes them -> memberships (segment, user_id) of ``statements`` at ``at``.

    ``rows`` stand under canonical ids, without repeats, joins, deletions, or what is forgotten.
    """
    with _views({"events": _events(rows), "profiles": _profiles(rows)}) as spark:
        found = [
            _members(spark, segment, bound_sql(text, at))
            for segment, text in sorted(statements.items())
        ]
    return reduce(DataFrame.unionByName, found)


def _members(spark: SparkSession, segment: str, text: str) -> DataFrame:
    try:
        users = spark.sql(text)
    except (AnalysisException, ParseException) as error:
        reason = str(error).split("\n", 1)[0]
        raise RuleError([Problem("HR420", reason, Place(segment))]) from error
    known = users.where("user_id IS NOT NULL").select("user_id").distinct()
    return known.select(F.lit(segment).alias("segment"), "user_id")


def _events(rows: DataFrame) -> DataFrame:
    """The view ``events``: what users did."""
    return rows.where("type != 'traits'").select(
        "user_id", "event_id", "type", F.timestamp_millis("ts").alias("ts"), "properties"
    )


def _profiles(rows: DataFrame) -> DataFrame:
    """The view ``profiles``: every user known, with traits and the instant of the first fact.

    Told from facts alone, ``first_seen`` hangs on no batch: it is the same in a file and a table.
    """
    seen = rows.groupBy("user_id").agg(F.timestamp_millis(F.min("ts")).alias("first_seen"))
    told = rows.where("type = 'traits'").groupBy("user_id")
    texts = told.agg(F.collect_list(F.struct("ts", "properties")).alias("facts"))
    traits = texts.mapInArrow(_newest_traits, PROFILE)
    everybody = seen.join(traits, "user_id", "left")
    return everybody.select(
        "user_id", F.coalesce("traits", F.lit("{}")).alias("traits"), "first_seen"
    )


def _newest_traits(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        texts = []
        for facts in batch.column("facts").to_pylist():
            said = [(fact["ts"], orjson.loads(fact["properties"])) for fact in facts]
            texts.append(plain(latest(None, ((ts, _own(traits)) for ts, traits in said))))
        columns = {"user_id": batch.column("user_id"), "traits": pa.array(texts, pa.string())}
        yield from pa.table(columns).to_batches()


def _own(traits: dict[str, object]) -> dict[str, object]:
    """Without the lists that the user is on, which are kept as traits."""
    return {name: value for name, value in traits.items() if not name.startswith(LIST)}


@contextmanager
def _views(frames: Mapping[str, DataFrame]) -> Iterator[SparkSession]:
    """The session in which ``frames`` are tables of these names, and statements read as here."""
    spark = next(iter(frames.values())).sparkSession
    before = {key: spark.conf.get(key) for key in READING}
    try:
        for key, value in READING.items():
            spark.conf.set(key, value)
        for name, frame in frames.items():
            frame.createOrReplaceTempView(name)
        yield spark
    finally:
        for name in frames:
            spark.catalog.dropTempView(name)
        for key, old in before.items():
            spark.conf.set(key, str(old))
