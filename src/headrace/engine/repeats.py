"""Which events were sent before: the first of a key counts, within the horizon."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from headrace.engine.group import ints
from headrace.engine.state import Bools, Ints, Records, Words

SECOND = 1_000
_SIEVE_BITS = 20

MOST_IDS = 1_024
"""The newest ids of a user that are kept."""


def keys_of(events: pa.Table) -> tuple[Words, Bools]:
    """The hash of (user id as sent, event id) of each row, and whether it has an event id."""
    joined = pc.binary_join_element_wise(events["sent_id"], events["event_id"], "\x1f")
    has_id = joined.is_valid().to_numpy()
    texts = joined.fill_null("").cast(pa.binary()).to_pylist()
    return np.fromiter(map(xxhash.xxh64_intdigest, texts), np.uint64, len(texts)), has_id


def repeats(events: pa.Table, keys: Words, has_id: Bools, ids: Records, horizon_ms: int) -> Bools:
    """One bit per row: was its key accepted before, within the horizon?

    ``ids`` are the keys that earlier batches accepted. Rows count in the order of their batch,
    partition and offset; of a key that comes again after the horizon the later row counts too.
    """
    repeated = np.zeros(len(keys), np.bool_)
    if not has_id.any():
        return repeated
    ordered = np.sort(keys[has_id])
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    known = _among(ids, ordered)
    doubtful = has_id & (_isin(keys, twice) | _isin(keys, np.sort(known["hash"])))
    rows = np.flatnonzero(doubtful)
    if not len(rows):
        return repeated
    at, partition, offset = (ints(events[name], 0)[rows] for name in ("at", "partition", "offset"))
    horizon = horizon_ms // SECOND
    accepted: dict[int, int] = {}
    for key, second in zip(known["hash"].tolist(), known["at"].tolist(), strict=True):
        accepted[key] = max(second, accepted.get(key, 0))
    order = np.lexsort((offset, partition, at))
    for row, second in zip(rows[order].tolist(), (at[order] // SECOND).tolist(), strict=True):
        key = int(keys[row])
        before = accepted.get(key)
        if before is not None and second - before <= horizon:
            repeated[row] = True
        else:
            accepted[key] = second
    return repeated


def named_places(events: pa.Table, repeated: Bools, owners: Ints, users: int) -> pa.Array:
    """Where each of ``users`` users' repeats lay, of events whose topic is given.

    JSON: a list of topic, partition and offset; null of whom there are none.
    """
    rows = np.flatnonzero(repeated & events["topic"].is_valid().to_numpy())
    found: dict[int, list[dict[str, object]]] = {}
    places = events.select(["topic", "partition", "offset"]).take(pa.array(rows)).to_pylist()
    for owner, place in zip(owners[rows].tolist(), places, strict=True):
        found.setdefault(owner, []).append(place)
    texts: list[str | None] = [None] * users
    for owner, of in found.items():
        texts[owner] = orjson.dumps(of).decode()
    return pa.array(texts, pa.string())


def _among(ids: Records, ordered: Words) -> Records:
    """The ids whose hash is in ``ordered``; a sieve in cache spares most of the searching."""
    if not len(ids):
        return ids
    mask = np.uint64((1 << _SIEVE_BITS) - 1)
    sieve = np.zeros(1 << _SIEVE_BITS, np.bool_)
    sieve[ordered & mask] = True
    passed = ids[sieve[ids["hash"] & mask]]
    found: Records = passed[_isin(passed["hash"], ordered)]
    return found


def _isin(values: Words, ordered: Words) -> Bools:
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    found: Bools = ordered[places] == values
    return found


def newest_ids(events: pa.Table, rows: Ints, owners: Ints) -> Ints:
    """Of ``rows`` the newest MOST_IDS of each owner, in the order in which they arrived.

    A batch has one second for all of its ids; which of them are the newest is known only here.
    """
    counts = np.bincount(owners[rows]) if len(rows) else rows
    if counts.max(initial=0) <= MOST_IDS:
        return rows
    partition, offset = (ints(events[name], 0)[rows] for name in ("partition", "offset"))
    order = np.lexsort((-offset, -partition, -ints(events["at"], 0)[rows], owners[rows]))
    starts = np.cumsum(counts) - counts
    kept = np.arange(len(rows)) - np.repeat(starts, counts) < MOST_IDS
    chosen: Ints = np.sort(rows[order[kept]])
    return chosen


def live_ids(ids: Records, owners: Ints, users: int, oldest: int) -> tuple[Records, Ints, Ints]:
    """Each user's distinct ids not before ``oldest`` (seconds), by hash; the newest ones.

    With them the number of each user's, and of those that were let go for newer ones.
    """
    rows = np.flatnonzero((ids["at"] >= max(oldest, 0)) & (owners >= 0))
    # Newest first within a hash, so that of one id accepted twice the later remains.
    rows = rows[np.lexsort((-ids["at"][rows].astype(np.int64), ids["hash"][rows], owners[rows]))]
    hashes, of = ids["hash"][rows], owners[rows]
    first = np.ones(len(rows), np.bool_)
    first[1:] = (hashes[1:] != hashes[:-1]) | (of[1:] != of[:-1])
    rows = rows[first]
    counts = np.bincount(owners[rows], minlength=users)
    lost = np.maximum(counts - MOST_IDS, 0)
    if lost.any():
        newest = np.lexsort((ids["hash"][rows], -ids["at"][rows].astype(np.int64), owners[rows]))
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        chosen = newest[np.arange(len(rows)) - starts < MOST_IDS]
        rows = rows[np.sort(chosen)]
        counts = np.bincount(owners[rows], minlength=users)
    return ids[rows], counts, lost
