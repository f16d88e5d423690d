"""How binary columns are packed, and read whatever way Arrow lays them out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.state import (
    TILE,
    binary_column,
    members_of,
    pack_members,
    pack_tiles,
    packed,
    unpack_members,
    unpack_tiles,
)  # fmt: skip
from headrace.rules.model import Compare, Segment, Trait
from strategies import CATALOG
from streams import plan_of

u32, i64 = st.integers(0, (1 << 32) - 1), st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(st.tuples(u32, u32, i64)))
def test_tiles_survive_packing(tiles: list[tuple[int, int, int]]) -> None:
    assert unpack_tiles(pack_tiles(tiles)) == sorted(tiles)


@given(st.sets(st.integers(0, 48 * 65_536 - 1)))
def test_members_survive_packing(version_ids: set[int]) -> None:
    data = pack_members(version_ids)
    assert unpack_members(data) == sorted(version_ids)
    words = np.frombuffer(data, "<u8")
    assert (words[1:] > words[:-1]).all() and not (words & ((1 << 48) - 1) == 0).any()


def test_binary_columns_in_every_layout() -> None:
    rows = [pack_tiles([(1, 2, i)] * i) if i != 2 else None for i in range(5)]
    plain = pa.array(rows, pa.binary())
    hidden = pa.Array.from_buffers(  # a null whose bytes are still there
        pa.binary(), 5, [pa.array([1, 1, 0, 1, 1], pa.uint8()).cast(pa.bool_()).buffers()[1],
                         *binary_column(*_all(5)).buffers()[1:]], null_count=1,
    )  # fmt: skip
    for column in (plain, plain.cast(pa.large_binary()), hidden, pa.chunked_array([plain])):
        for start, stop in ((0, 5), (1, 4), (2, 3), (3, 3)):
            records, counts = packed(column.slice(start, stop - start), TILE)
            expected = [0 if i == 2 else i for i in range(start, stop)]
            assert counts.tolist() == expected
            assert records["value"].tolist() == [i for i in expected for _ in range(i)]


def _all(size: int) -> tuple[np.ndarray, np.ndarray]:
    values = [(1, 2, i) for i in range(size) for _ in range(i)]
    return np.array(values, TILE), np.arange(size)


def test_members_of_a_plan() -> None:
    plan = plan_of([Segment(id="a", condition=Compare(Trait("country"), "exists", True))], CATALOG)
    known = plan.programs[0].version_id
    table = pa.table(
        {
            "user_id": ["u", "v", "w"],
            "members": [pack_members({known, 500}), None, pack_members({48_000})],
        }
    )
    assert members_of(table, plan).to_pydict() == {"user_id": ["u"], "version_id": [known]}
