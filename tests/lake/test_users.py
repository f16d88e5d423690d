"""Rows of one user out of tables of many, as they are at the moment of the question."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from headrace.engine.families import FAMILY_SCHEMA
from headrace.engine.state import STATE_SCHEMA
from headrace.engine.tombstone import tombstone
from headrace.lake.tables import LakeDown, Tables
from headrace.lake.users import Deletion, bucket_of, deletions_of, ids_of, state_of

BUCKETS = 4
ODD = ["ann", "o'hara", "'; DROP TABLE profiles; --", "Ünïcödé", "a/b", "''", '"quoted"', "ann "]


def append(root: Path, n: int, *users: str) -> None:
    """What a batch writes: a row for each of ``users``."""
    rows = [
        {"user_id": user, "n": n, "layout": 1, "tiles": b"\0\1", "bucket": bucket_of(user, BUCKETS)}
        for user in users
    ]
    schema = STATE_SCHEMA.append(pa.field("bucket", pa.int32()))
    table = pa.Table.from_pylist(rows, schema)
    write_deltalake(str(root / "profiles"), table, partition_by=["bucket"], mode="append")


def link(root: Path, n: int, **canonical: str) -> None:
    """Ids that go by another from batch ``n`` on; all of them are one family."""
    rows: list[dict[str, Any]] = [
        {"user_id": user, "family": "a", "canonical": by, "links": "[]", "n": n}
        for user, by in canonical.items()
    ]
    table = pa.Table.from_pylist(rows, FAMILY_SCHEMA.append(pa.field("n", pa.int64())))
    write_deltalake(str(root / "identities"), table, mode="append")


def numbers(table: pa.Table) -> list[int]:
    return sorted(table["n"].to_pylist())


@pytest.mark.parametrize("user", ODD)
def test_a_user_has_his_rows_and_nobody_elses(tmp_path: Path, user: str) -> None:
    append(tmp_path, 1, *ODD, *(f"u{number}" for number in range(200)))
    append(tmp_path, 2, "u7", user)
    found = state_of(Tables(str(tmp_path)), user, BUCKETS)
    assert numbers(found) == [1, 2] and set(found["user_id"].to_pylist()) == {user}
    assert found["tiles"].to_pylist() == [b"\0\1", b"\0\1"]
    assert found.schema.names == STATE_SCHEMA.names


def test_what_was_written_since_is_seen(tmp_path: Path) -> None:
    append(tmp_path, 1, "ann")
    tables = Tables(str(tmp_path))
    assert numbers(state_of(tables, "ann", BUCKETS)) == [1]
    assert len(state_of(tables, "bob", BUCKETS)) == 0
    append(tmp_path, 2, "ann", "bob")
    assert numbers(state_of(tables, "ann", BUCKETS)) == [1, 2]
    assert numbers(state_of(tables, "bob", BUCKETS)) == [2]


def test_several_may_ask_at_once_while_batches_are_written(tmp_path: Path) -> None:
    append(tmp_path, 1, "ann")
    tables = Tables(str(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(state_of, tables, "ann", BUCKETS) for _ in range(40)]
        for n in range(2, 12):
            append(tmp_path, n, "ann")
        found = [len(one.result()) for one in asked]
    assert set(found) <= set(range(1, 12))
    assert len(state_of(tables, "ann", BUCKETS)) == 11


def test_joined_ids_are_those_of_the_newest_word(tmp_path: Path) -> None:
    link(tmp_path, 1, a="a", b="a", c="a")
    link(tmp_path, 3, c="c")
    tables = Tables(str(tmp_path))
    assert ids_of(tables, "a") == {"a", "b"}
    assert ids_of(tables, "c") == {"c"}
    assert ids_of(tables, "nobody") == {"nobody"}


def test_deletions_are_those_of_the_newest_tombstone(tmp_path: Path) -> None:
    rows = [
        {"key": tombstone(user, "secret"), "until": until, "n": n, "at": n}
        for user, until, n in (("ann", 5, 1), ("ann", 9, 4), ("bob", 5, 1), ("bob", -1, 2))
    ]
    write_deltalake(str(tmp_path / "tombstones"), pa.Table.from_pylist(rows))
    tables = Tables(str(tmp_path))
    assert deletions_of(tables, ["ann", "bob", "cem"], "secret") == {
        "ann": Deletion(9, 4), "bob": None, "cem": None,
    }  # fmt: skip
    assert set(deletions_of(tables, ["ann"], "another").values()) == {None}


def test_a_table_that_was_restored_is_read_anew(tmp_path: Path) -> None:
    append(tmp_path, 1, "ann")
    append(tmp_path, 2, "ann")
    tables = Tables(str(tmp_path))
    assert numbers(state_of(tables, "ann", BUCKETS)) == [1, 2]
    shutil.rmtree(tmp_path / "profiles")
    append(tmp_path, 7, "ann")
    assert numbers(state_of(tables, "ann", BUCKETS)) == [7]
    shutil.rmtree(tmp_path / "profiles")
    with pytest.raises(LakeDown):
        state_of(tables, "ann", BUCKETS)


def test_tables_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LakeDown, match="profiles cannot be read"):
        state_of(Tables(str(tmp_path / "nowhere")), "ann", BUCKETS)
