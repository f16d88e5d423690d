"""The columns that events and users' states have, and how the binary ones are packed.

A state row describes itself by registry integers (slot ids, version ids), so that rows written
under different plans lie side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.plan.model import Plan

Ints: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]
Records: TypeAlias = npt.NDArray[Any]
Bools: TypeAlias = npt.NDArray[np.bool_]

TILE = np.dtype([("slot", "<u4"), ("tile", "<u4"), ("value", "<i8")])
ID = np.dtype([("hash", "<u8"), ("at", "<u4")])
WORD = np.dtype("<u8")

BLOCK = 48  # membership bits a word holds; its other 16 bits name the block
BITS = np.uint64((1 << BLOCK) - 1)

STAGED, CURRENT, GONE, JOINED = 0, 1, 2, 3
"""Layouts: history that only adds, a user's state, a user merged away or deleted; and, never
stored, another id's state that adds to this user's."""

ADDING = (STAGED, JOINED)
"""Layouts of rows that add to where a user stands instead of saying it."""

EVENTS_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("type", pa.string()),
        ("ts", pa.int64()),
        ("properties", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("raw", pa.binary()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)

FACTS_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("sent_id", pa.string()),
        ("event_id", pa.string()),
        ("type", pa.string()),
        ("ts", pa.int64()),
        ("properties", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("at", pa.int64()),
    ]
)

ARRIVED_SCHEMA = FACTS_SCHEMA.append(pa.field("topic", pa.string()))
"""Facts of a batch; the ``topic`` is given of those whose repeats somebody wants to be named."""

STATE_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("n", pa.int64()),
        ("at", pa.int64()),
        ("layout", pa.int32()),
        ("traits", pa.string()),
        ("tiles", pa.binary()),
        ("logs", pa.string()),
        ("stays", pa.string()),
        ("members", pa.binary()),
        ("ids", pa.binary()),
        ("pending", pa.string()),
        ("next_due", pa.int64()),
        ("first_seen", pa.int64()),
        ("changes", pa.string()),
        ("duplicates", pa.int32()),
        ("folded", pa.int32()),
        ("repeated", pa.string()),
        ("ids_lost", pa.int32()),
    ]
)

INPUT_SCHEMA = STATE_SCHEMA.append(pa.field("cause", pa.string()))
"""What the kernel reads: ``cause`` says delete or merge if an identity changed, and correction if
a state is told anew because it was wrong."""


def empty_state() -> pa.Table:
    """No user at all."""
    return STATE_SCHEMA.empty_table()


def pack_tiles(tiles: Iterable[tuple[int, int, int]]) -> bytes:
    """Bytes of ``(slot, tile, value)`` records, sorted."""
    return np.array(sorted(tiles), dtype=TILE).tobytes()


def unpack_tiles(data: bytes | None) -> list[tuple[int, int, int]]:
    """The records of `pack_tiles`."""
    records: list[tuple[int, int, int]] = np.frombuffer(data or b"", dtype=TILE).tolist()
    return records


def pack_members(version_ids: Iterable[int]) -> bytes:
    """Bytes of membership words for a set of version ids."""
    words: dict[int, int] = {}
    for version_id in version_ids:
        block, bit = divmod(version_id, BLOCK)
        words[block] = words.get(block, 0) | 1 << bit
    packed = [block << BLOCK | bits for block, bits in sorted(words.items())]
    return np.array(packed, dtype=WORD).tobytes()


def unpack_members(data: bytes | None) -> list[int]:
    """The version ids of `pack_members`, sorted."""
    found: list[int] = []
    for word in np.frombuffer(data or b"", dtype=WORD).tolist():
        block, bits = word >> BLOCK, word & (1 << BLOCK) - 1
        found.extend(block * BLOCK + bit for bit in range(BLOCK) if bits >> bit & 1)
    return found


def packed(column: pa.ChunkedArray | pa.Array, dtype: np.dtype[Any]) -> tuple[Records, Ints]:
    """A binary column as one array of records, without copying, and the records per row.

    Slices, nulls, chunks and large offsets are all met here, so that nobody else thinks of them.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no chunk at all
            column = pa.array([], type=column.type)
    if len(column) == 0:
        return np.empty(0, dtype), np.empty(0, np.int64)
    wide = pa.types.is_large_binary(column.type)
    width = np.dtype(np.int64 if wide else np.int32)
    _, offset_buffer, data = column.buffers()
    offsets = np.frombuffer(
        offset_buffer, width, len(column) + 1, column.offset * width.itemsize
    ).astype(np.int64)
    counts = np.diff(offsets) // dtype.itemsize
    size = int(offsets[-1] - offsets[0])
    if size == 0 or data is None:
        return np.empty(0, dtype), counts
    records = np.frombuffer(data, np.uint8, size, int(offsets[0])).view(dtype)
    if column.null_count:
        # A null slot may still span bytes in the buffer.
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        if counts[~valid].any():
            records = records[np.repeat(valid, counts)]
            counts = np.where(valid, counts, 0)
    return records, counts


def binary_column(records: npt.NDArray[Any], counts: npt.NDArray[Any]) -> pa.Array:
    """A binary column whose row i holds the next ``counts[i]`` records."""
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    offsets *= records.dtype.itemsize
    data = np.ascontiguousarray(records).view(np.uint8)
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(counts), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def members_of(table: pa.Table, plan: Plan) -> pa.Table:
    """(user_id, version_id) for each membership in ``table`` (one state row a user)."""
    words, counts = packed(table["members"], WORD)
    rows = np.repeat(np.arange(len(table)), counts)
    blocks = (words >> np.uint64(BLOCK)).astype(np.int64)
    found_rows, found_ids = [], []
    for bit in range(BLOCK):
        hit = np.flatnonzero(words >> np.uint64(bit) & np.uint64(1))
        found_rows.append(rows[hit])
        found_ids.append(blocks[hit] * BLOCK + bit)
    version_ids = np.concatenate(found_ids) if found_ids else np.empty(0, np.int64)
    of_plan = np.isin(version_ids, [program.version_id for program in plan.programs])
    users = np.concatenate(found_rows)[of_plan] if found_rows else np.empty(0, np.int64)
    return pa.table(
        {
            "user_id": table["user_id"].take(pa.array(users)),
            "version_id": pa.array(version_ids[of_plan], pa.int64()),
        }
    )
