"""Who is due: never too few, whatever was superseded, and the earliest where they are too many."""

from __future__ import annotations

from pyspark.sql import DataFrame

from headrace.spark.dues import Dues, survey
from headrace.spark.session import Session

NOBODY: set[str] = set()


def profiles(spark: Session, rows: list[tuple[str, int, int | None]]) -> DataFrame:
    return spark.createDataFrame(
        [(user, n, due, None) for user, n, due in rows],
        "user_id string, n bigint, next_due bigint, pending string",
    )


def taken(dues: Dues, table: DataFrame, now: int, limit: int = 100) -> set[str]:
    found = dues.users(table, now=now, limit=limit)
    return {row["user_id"] for row in found.collect()} if found is not None else NOBODY


def test_due_users_are_taken_once_their_instant_has_come(spark: Session):
    table = profiles(spark, [("ann", 1, 10), ("bob", 1, 20), ("cid", 1, None)])
    dues, _ = survey(table)
    assert taken(dues, table, now=9) == NOBODY
    dues.had_their_turn(table, now=9, next_due=None)
    assert taken(dues, table, now=10) == {"ann"}
    table = table.union(profiles(spark, [("ann", 2, 30)]))
    dues.had_their_turn(table, now=10, next_due=30)
    assert taken(dues, table, now=25) == {"bob"}, "ann has had her turn, though the row is there"
    dues.had_their_turn(table, now=25, next_due=None)
    assert taken(dues, table, now=30) == {"ann"}


def test_more_than_the_limit_take_turns_the_earliest_first(spark: Session):
    table = profiles(spark, [("ann", 1, 10), ("bob", 1, 20), ("cid", 1, 15), ("ann", 2, 90)])
    dues, _ = survey(table)
    assert taken(dues, table, now=50, limit=1) == {"cid"}
    table = table.union(profiles(spark, [("cid", 3, None)]))
    dues.had_their_turn(table, now=50, next_due=None)
    assert taken(dues, table, now=50, limit=1) == {"bob"}
    table = table.union(profiles(spark, [("bob", 4, None)]))
    dues.had_their_turn(table, now=50, next_due=None)
    assert taken(dues, table, now=60, limit=1) == NOBODY
    dues.had_their_turn(table, now=60, next_due=None)
    assert dues.earliest == 90
    assert taken(dues, table, now=95, limit=1) == {"ann"}


def test_after_a_repeated_batch_nobody_is_taken_for_settled(spark: Session):
    table = profiles(spark, [("ann", 1, 10), ("bob", 1, 20)])
    dues, _ = survey(table)
    taken(dues, table, now=50)
    dues.unknown()  # its commit was there already, and may have taken fewer
    dues.had_their_turn(table, now=50, next_due=None)
    assert taken(dues, table, now=51) == {"ann", "bob"}
