"""Joins and deletions of a batch: who goes by which id, and what is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.erasure import own_deletion
from headrace.engine.families import ANEW, FAMILY_SCHEMA, Regrouping, regroup
from headrace.engine.identity import LINKS, links_of
from headrace.engine.state import EVENTS_SCHEMA, GONE
from headrace.spark.commits import Commit, append
from headrace.spark.files import names
from headrace.spark.header import Header
from headrace.spark.tables import Lake, newest_rows
from headrace.spark.tombstones import Tombstones, hmac

LINK_COLUMNS = ("ts", "type", "user_id", "properties")


@dataclass(slots=True)
class Known:
    """What the driver knows of identities between batches, to look only when there is need."""

    any_joined: bool
    # The earliest instant at which a link that is ahead of now comes true; None for none.
    due: int | None
    # No fact later than this is forgotten; None when nothing is.
    forgotten_until: int | None

    def learn(self, change: Regrouping) -> None:
        """Keep the bounds true after a change."""
        self.any_joined = self.any_joined or len(change.rows) > 0
        self.due = _chosen([self.due, *change.rows["due"].to_pylist()], min)
        self.forgotten_until = _chosen([self.forgotten_until, *change.forgotten.values()], max)

    @staticmethod
    def of(spark: SparkSession, lake: Lake) -> Known:
        """What the tables say."""
        known = Known(any_joined=False, due=None, forgotten_until=None)
        if _has_files(spark, lake, "identities"):
            about = lake.read(spark, "identities").agg(
                F.count("user_id").alias("ids"), F.min("due").alias("due")
            )
            row = about.collect()[0]
            known.any_joined, known.due = row["ids"] > 0, row["due"]
        # Of ids that are gone from the one table the other still knows.
        if _has_files(spark, lake, "tombstones"):
            until = lake.read(spark, "tombstones").agg(F.max("until"))
            known.forgotten_until = until.collect()[0][0]
        return known


def _has_files(spark: SparkSession, lake: Lake, table: str) -> bool:
    # Not by the log: entries older than a week are cleaned away.
    return any(name.endswith(".parquet") for name in names(spark, lake.path(table)))


def _chosen(instants: Iterable[int | None], choose: Callable[..., int]) -> int | None:
    known = [instant for instant in instants if instant is not None]
    return choose(known) if known else None


def no_links() -> pa.Table:
    """No joins and no deletions."""
    return EVENTS_SCHEMA.empty_table().select(list(LINK_COLUMNS))


def arrived_links(
    spark: SparkSession, lake: Lake, header: Header, parsed: Commit | None, linked: int
) -> pa.Table:
    """The accepted joins and deletions of all batches after ``linked``, up to this one."""
    if parsed is not None and linked + 1 >= header.n:
        rows = parsed.read(spark, lake, "events", verdict="accepted")
    else:
        between = (F.col("n") > linked) & (F.col("n") <= header.n)
        rows = lake.read(spark, "events").where(between & (F.col("verdict") == "accepted"))
    return rows.where(F.col("type").isin(*LINKS)).select(*LINK_COLUMNS).toArrow()


def carry_out(
    spark: SparkSession,
    lake: Lake,
    header: Header,
    links: pa.Table,
    known: Known,
    secret: str,
    *,
    replay: bool,
) -> Regrouping | None:
    """Judge the families that ``links`` touch, and those whose time has come; write what is new.

    None when no state has to move. Families are read as they were before the batch, so that its
    replay comes to the same.
    """
    is_due = known.due is not None and known.due <= header.now
    if not len(links) and not is_due:
        return None
    facts = links_of(links)
    ids = {user for link in facts for user in link[2:] if user}
    identities = lake.read(spark, "identities")
    if replay:
        identities = identities.where(F.col("n") < header.n)
    rows = newest_rows(identities)
    named = spark.createDataFrame(pa.table({"user_id": pa.array(sorted(ids), pa.string())}))
    touched = rows.join(F.broadcast(named), "user_id").select("family")
    if is_due:
        touched = touched.union(rows.where(F.col("due") <= header.now).select("family"))
    families = rows.join(touched.distinct(), "family", "left_semi")
    standing = families.select(*FAMILY_SCHEMA.names).toArrow().cast(FAMILY_SCHEMA)
    if known.forgotten_until is not None:
        ids.difference_update(standing["user_id"].to_pylist())
        erased = _erased(spark, ids, Tombstones(lake, secret, before=header.n))
        standing = pa.concat_tables([standing, erased])
    change = regroup(standing, facts, now=header.now)
    if len(change.rows):
        judged = _dated(spark.createDataFrame(change.rows), header)
        append(judged, lake.path("identities"), header)
    if change.forgotten:
        tombstones = _dated(_tombstones(spark, change, secret), header)
        append(tombstones, lake.path("tombstones"), header)
    if is_due:  # only superseded rows may be left behind the bound: look for the next
        newest = newest_rows(lake.read(spark, "identities"))
        known.due = newest.agg(F.min("due")).collect()[0][0]
    known.learn(change)
    return change if len(change.moves) else None


def identified(
    spark: SparkSession, facts: DataFrame, lake: Lake, known: Known, secret: str
) -> DataFrame:
    """``facts`` (sent_id, ts, ...) under canonical ids, without joins and deletions; those
    forgotten are of type FORGOTTEN."""
    facts = facts.where(~F.col("type").isin(*LINKS))
    if known.any_joined:
        senders = facts.select(F.col("sent_id").alias("user_id")).distinct()
        latest = newest_rows(lake.read(spark, "identities").join(senders, "user_id", "left_semi"))
        joined = latest.where("canonical != user_id").select(
            F.col("user_id").alias("sent_id"), "canonical"
        )
        columns = [
            F.coalesce("canonical", "sent_id").alias("user_id")
            if name == "user_id"
            else F.col(name)
            for name in facts.columns
        ]
        facts = facts.join(joined, "sent_id", "left").select(*columns)
    if known.forgotten_until is not None:
        old = F.col("ts") <= known.forgotten_until
        facts = Tombstones(lake, secret).marked(facts, old)
    return facts


def _erased(spark: SparkSession, ids: set[str], tombstones: Tombstones) -> pa.Table:
    """Rows (FAMILY_SCHEMA) of those of ``ids`` that only tombstones know any more."""
    found = tombstones.instants(spark, ids) if ids else {}
    rows = [own_deletion(user, until) for user, until in sorted(found.items())]
    return pa.Table.from_pylist(rows, FAMILY_SCHEMA)


def moved_rows(spark: SparkSession, profiles: DataFrame, change: Regrouping) -> DataFrame:
    """The state rows that go to another user, begin anew or end; see `families.MOVES_SCHEMA`.

    Whoever begins anew or leaves has a row here even if he never had a state.
    """
    moves = spark.createDataFrame(change.moves)
    silent = moves.where(F.col("role").isin(*ANEW))
    rows = profiles.withColumnRenamed("user_id", "origin").join(F.broadcast(moves), "origin")
    return rows.unionByName(
        silent.withColumn("n", F.lit(-1).cast("long")).withColumn("layout", F.lit(GONE)),
        allowMissingColumns=True,
    )


def moved_users(spark: SparkSession, change: Regrouping, *roles: str) -> DataFrame:
    """The users (user_id) that rows go to in one of ``roles``."""
    rows = [row["user_id"] for row in change.moves.to_pylist() if row["role"] in roles]
    return spark.createDataFrame(pa.table({"user_id": pa.array(sorted(set(rows)), pa.string())}))


def retold_facts(
    spark: SparkSession, lake: Lake, change: Regrouping, *, before: int, horizon_ms: int
) -> DataFrame:
    """All earlier facts sent under ids whose state begins anew."""
    users = spark.createDataFrame(pa.table({"user_id": pa.array(change.retold, pa.string())}))
    told = lake.facts(spark, horizon_ms=horizon_ms, users=F.broadcast(users))
    return told.where(F.col("n") < before)


def _tombstones(spark: SparkSession, change: Regrouping, secret: str) -> DataFrame:
    rows = pa.table(
        {
            "user_id": pa.array(list(change.forgotten), pa.string()),
            "until": pa.array(list(change.forgotten.values()), pa.int64()),
        }
    )
    return spark.createDataFrame(rows).select(
        hmac("user_id", secret).alias("key"),
        # A deletion that turns out to spare an id leaves nothing of it forgotten.
        F.coalesce("until", F.lit(-1).cast("long")).alias("until"),
    )


def _dated(rows: DataFrame, header: Header) -> DataFrame:
    n, at = F.lit(header.n).cast("long"), F.lit(header.now).cast("long")
    return rows.withColumn("n", n).withColumn("at", at).coalesce(1)
