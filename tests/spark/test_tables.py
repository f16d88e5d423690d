"""Tables that an earlier release made."""

from __future__ import annotations

from pathlib import Path

from delta.tables import DeltaTable

from headrace.spark.session import Session
from headrace.spark.tables import TABLES, Lake


def test_tables_of_an_earlier_release_get_the_columns_they_lack(
    spark: Session, tmp_path: Path
) -> None:
    lake = Lake(str(tmp_path))
    older = DeltaTable.create(spark).location(lake.path("profiles")).partitionedBy("bucket")
    for name, kind, comment in TABLES["profiles"].columns:
        if name not in ("logs", "stays"):
            older = older.addColumn(name, kind, comment=comment)
    older.execute()
    spark.createDataFrame(
        [("ann", 1, 0, 1, 5)],
        "user_id string, n bigint, bucket int, layout int, first_seen bigint",
    ).write.format("delta").mode("append").save(lake.path("profiles"))
    for _ in range(2):  # what is complete is left alone
        lake.create(spark)
    told = {field.name: field.metadata for field in lake.read(spark, "profiles").schema.fields}
    assert told.keys() == {name for name, _, _ in TABLES["profiles"].columns}
    assert told["stays"]["comment"]
    (row,) = lake.latest_profiles(spark).collect()
    assert (row["user_id"], row["logs"], row["stays"]) == ("ann", None, None)
    assert lake.delta(spark, "profiles").history().count() == 4
