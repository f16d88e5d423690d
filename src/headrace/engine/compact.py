"""One row per user out of many: upkeep between batches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.group import ints, state_rows, users_of
from headrace.engine.repeats import live_ids
from headrace.engine.state import GONE, ID, STAGED, STATE_SCHEMA, binary_column, packed

OF_ITS_BATCH = ("changes", "duplicates", "folded", "repeated", "ids_lost")
"""Columns that speak of the batch that wrote them, not of the user."""


def compact(rows: pa.Table, *, now: int, horizon_ms: int, gone_until: int = -1) -> pa.Table:
    """The row with the greatest n of each user; live ids merged; counts and changes cleared.

    Of the ids within the horizon the newest 1,024 stay; ``ids_lost`` counts the others. Staged rows
    pass unchanged. Of users who were gone after a batch up to ``gone_until`` nothing stays.
    """
    rows = state_rows(rows)
    staged = np.flatnonzero(ints(rows["layout"], STAGED) == STAGED)
    users = users_of(rows, rows.slice(0, 0), now=now, everyone=True, departed=True)
    kept = rows.take(pa.array(users.row))
    ids, sizes = packed(rows["ids"], ID)
    owners = np.repeat(users.owner_of_state, sizes)
    merged, counts, lost = live_ids(ids, owners, len(users), (now - horizon_ms) // 1_000)
    size = len(kept)
    replaced = {
        "ids": binary_column(merged, counts),
        "changes": pa.nulls(size, pa.string()),
        "duplicates": pa.array(np.zeros(size), pa.int32()),
        "folded": pa.array(np.zeros(size), pa.int32()),
        "repeated": pa.nulls(size, pa.string()),
        "ids_lost": pa.array(lost, pa.int32()),
    }
    columns = [replaced.get(name, kept[name]) for name in STATE_SCHEMA.names]
    result = pa.table(columns, names=STATE_SCHEMA.names).cast(STATE_SCHEMA)
    is_gone = (ints(result["layout"], STAGED) == GONE) & (ints(result["n"], 0) <= gone_until)
    result = result.filter(pa.array(~is_gone))
    return pa.concat_tables([result, rows.take(pa.array(staged)).cast(STATE_SCHEMA)])


def merge(stood: pa.Table, new: pa.Table, *, now: int, horizon_ms: int) -> pa.Table:
    """Everybody of ``stood`` (all their rows) and ``new`` (this batch's) in one row each.

    What ``new`` says of its batch stays; in rows of earlier batches it is null. Staged rows have
    been folded into ``new`` and end here.
    """
    rows = compact(
        pa.concat_tables([state_rows(stood), state_rows(new)]), now=now, horizon_ms=horizon_ms
    )
    rows = rows.filter(pc.not_equal(rows["layout"], STAGED))
    told = pc.index_in(rows["user_id"], value_set=new["user_id"].combine_chunks())
    lost = rows["ids_lost"]
    for name in OF_ITS_BATCH:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), new[name].take(told))
    both = pc.add(lost, rows["ids_lost"].fill_null(0))
    return rows.set_column(place, rows.schema.field("ids_lost"), both)
