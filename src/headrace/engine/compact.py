"""One row per user out of many: upkeep between batches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.group import ints, state_rows, users_of
from headrace.engine.state import ID, STAGED, STATE_SCHEMA, Ints, Records, binary_column, packed

MOST_IDS = 1_024


def compact(rows: pa.Table, *, now: int, horizon_ms: int) -> pa.Table:
    """The row with the greatest n of each user; live ids merged; counts and changes cleared.

    Of the ids within the horizon the newest 1,024 stay. Staged rows pass unchanged.
    """
    rows = state_rows(rows)
    staged = np.flatnonzero(ints(rows["layout"], STAGED) == STAGED)
    users = users_of(rows, rows.slice(0, 0), now=now, everyone=True, departed=True)
    kept = rows.take(pa.array(users.row))
    ids, sizes = packed(rows["ids"], ID)
    owners = np.repeat(users.owner_of_state, sizes)
    merged, counts = _live(ids, owners, len(users), (now - horizon_ms) // 1_000)
    size = len(kept)
    replaced = {
        "ids": binary_column(merged, counts),
        "changes": pa.nulls(size, pa.string()),
        "duplicates": pa.array(np.zeros(size), pa.int32()),
        "folded": pa.array(np.zeros(size), pa.int32()),
    }
    columns = [replaced.get(name, kept[name]) for name in STATE_SCHEMA.names]
    result = pa.table(columns, names=STATE_SCHEMA.names).cast(STATE_SCHEMA)
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
    for name in ("changes", "duplicates", "folded"):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), new[name].take(told))
    return rows


def _live(ids: Records, owners: Ints, users: int, oldest: int) -> tuple[Records, Ints]:
    """Each user's distinct ids not before ``oldest`` (seconds), by hash; the newest ones."""
    rows = np.flatnonzero((ids["at"] >= max(oldest, 0)) & (owners >= 0))
    # Newest first within a hash, so that of one id accepted twice the later remains.
    rows = rows[np.lexsort((-ids["at"][rows].astype(np.int64), ids["hash"][rows], owners[rows]))]
    hashes, of = ids["hash"][rows], owners[rows]
    first = np.ones(len(rows), np.bool_)
    first[1:] = (hashes[1:] != hashes[:-1]) | (of[1:] != of[:-1])
    rows = rows[first]
    counts = np.bincount(owners[rows], minlength=users)
    if len(counts) and counts.max() > MOST_IDS:
        newest = np.lexsort((ids["hash"][rows], -ids["at"][rows].astype(np.int64), owners[rows]))
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        chosen = newest[np.arange(len(rows)) - starts < MOST_IDS]
        rows = rows[np.sort(chosen)]
        counts = np.bincount(owners[rows], minlength=users)
    return ids[rows], counts
