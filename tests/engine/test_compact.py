"""Compaction keeps the newest state and every live id, and nothing that was said already."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.clock import DAY
from headrace.engine.compact import compact
from headrace.engine.repeats import MOST_IDS
from headrace.engine.state import GONE, ID, STAGED, STATE_SCHEMA, pack_tiles

NOW = 1_790_000_000_000
SECOND = NOW // 1_000


def row(user: str, n: int, ids: list[tuple[int, int]], **more: object) -> dict[str, object]:
    base = {"user_id": user, "n": n, "at": NOW, "layout": 1, "duplicates": 3, "folded": 4}
    return {**base, "ids": np.array(ids, ID).tobytes(), "changes": "{}", **more}


def compacted(*rows: dict[str, object], horizon: int = DAY) -> dict[str, dict[str, object]]:
    table = compact(pa.Table.from_pylist(rows, schema=STATE_SCHEMA), now=NOW, horizon_ms=horizon)
    assert table.schema.equals(STATE_SCHEMA)
    return {one["user_id"]: one for one in table.to_pylist()}


def ids_of(one: dict[str, object]) -> list[tuple[int, int]]:
    return np.frombuffer(one["ids"], ID).tolist()  # type: ignore[call-overload,no-any-return]


def test_the_newest_row_stays_with_all_live_ids() -> None:
    old = (1, SECOND - 86_401)
    found = compacted(
        row("ann", 2, [(5, SECOND), (9, SECOND - 86_400)], traits='{"new":1}'),
        row("bob", 9, []),
        row("ann", 1, [old, (5, SECOND - 7), (2, SECOND)], traits='{"old":1}'),
    )
    assert set(found) == {"ann", "bob"}
    ann = found["ann"]
    assert (ann["n"], ann["traits"]) == (2, '{"new":1}')
    assert ids_of(ann) == [(2, SECOND), (5, SECOND), (9, SECOND - 86_400)]
    assert (ann["changes"], ann["duplicates"], ann["folded"]) == (None, 0, 0)
    assert ids_of(found["bob"]) == []


def test_of_too_many_ids_the_newest_stay() -> None:
    ids = [(i, SECOND - i % 2_000) for i in range(3_000)]
    kept = ids_of(compacted(row("ann", 1, ids), row("bob", 1, [(7, SECOND)]))["ann"])
    assert len(kept) == MOST_IDS
    assert min(at for _, at in kept) >= SECOND - 600
    assert kept == sorted(kept)


def test_the_departed_stay_departed_and_staged_rows_stay() -> None:
    found = compacted(
        row("ann", 1, [(1, SECOND)]),
        row("ann", 2, [], layout=GONE),
        row("cy", 3, [], layout=STAGED, tiles=pack_tiles([(1, 2, 3)])),
    )
    assert (found["ann"]["layout"], found["ann"]["n"]) == (GONE, 2)
    assert ids_of(found["ann"]) == [(1, SECOND)]
    assert found["cy"]["tiles"] == pack_tiles([(1, 2, 3)])


def test_compacting_twice_changes_nothing() -> None:
    rows = [row("ann", n, [(n, SECOND - n)]) for n in range(4)]
    once = compact(pa.Table.from_pylist(rows, schema=STATE_SCHEMA), now=NOW, horizon_ms=DAY)
    assert compact(once, now=NOW, horizon_ms=DAY).equals(once)
    assert compact(once.slice(0, 0), now=NOW, horizon_ms=DAY).num_rows == 0
