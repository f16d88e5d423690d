"""Memberships as rows (segment, user_id): counted, and written out."""

from __future__ import annotations

from pyspark.sql import DataFrame


def sizes(members: DataFrame) -> dict[str, int]:
    """Members by segment, in the order of the segments."""
    rows = members.groupBy("segment").count().orderBy("segment").collect()
    return {row["segment"]: row["count"] for row in rows}


def write_members(members: DataFrame, folder: str) -> None:
    """One CSV file in ``folder``, in order, replacing what was there."""
    rows = members.orderBy("segment", "user_id").coalesce(1)
    rows.write.mode("overwrite").option("header", "true").csv(folder)
