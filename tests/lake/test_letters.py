"""Rejected messages out of the quarantine table: all of them, once, newest first."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from headrace.lake.letters import Spot, reasons, rejected
from headrace.lake.tables import Tables

TODAY = date(2026, 1, 12)
SCHEMA = pa.schema(
    [
        ("reason", pa.string()), ("raw", pa.binary()), ("topic", pa.string()),
        ("partition", pa.int32()), ("offset", pa.int64()), ("n", pa.int64()), ("at", pa.int64()),
        ("day", pa.date32()),
    ]
)  # fmt: skip
OLD = TODAY - timedelta(days=40)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    rows = [
        {"reason": "bad-ts" if number % 3 else "not-json", "raw": b"%d" % number,
         "topic": "events.v1" if number % 2 else "it's.shop", "partition": number % 4,
         "offset": number, "n": number // 5, "at": number, "day": OLD if number < 10 else TODAY}
        for number in range(60)
    ]  # fmt: skip
    rows += 3 * rows[30:40]  # appended again after each of three crashes
    table = pa.Table.from_pylist(rows, SCHEMA)
    write_deltalake(str(tmp_path / "quarantine"), table, partition_by=["day"])
    return Tables(str(tmp_path))


def test_reasons_are_counted_once_a_message(tables: Tables) -> None:
    found = {one.reason: (one.messages, one.newest_at) for one in reasons(tables, TODAY)}
    assert found == {"bad-ts": (34, 59), "not-json": (16, 57)}
    assert [one.reason for one in reasons(tables, OLD)] == ["bad-ts", "not-json"]
    assert reasons(tables, TODAY + timedelta(days=1)) == []


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_are_all_of_them_in_order(tables: Tables, limit: int) -> None:
    found: list[bytes] = []
    before: Spot | None = None
    while page := rejected(tables, TODAY, before=before, limit=limit):
        assert len(page) <= limit
        found += [one.raw for one in page]
        before = page[-1].spot
    assert len(found) == 50 and {int(raw) for raw in found} == {*range(10, 60)}
    order = [int(raw) // 5 for raw in found]
    assert order == sorted(order, reverse=True)


def test_of_some_reasons(tables: Tables) -> None:
    found = rejected(tables, OLD, reasons=("not-json", "it's"), limit=100)
    assert {one.reason for one in found} == {"not-json"} and len(found) == 20
    assert found[0].place == "events.v1/1/57"
