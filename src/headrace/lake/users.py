"""Where a user stands, by the tables.

DataFusion reads only the pages of the files of his bucket that may hold him.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import pyarrow as pa
import xxhash

from headrace.clock import Instant
from headrace.engine.state import STATE_SCHEMA
from headrace.engine.tombstone import tombstone
from headrace.lake.tables import Tables, among, quoted

SEED: Final = 42
"""Of Spark's xxhash64."""


class Deletion(NamedTuple):
    """Everything of an id up to ``until`` is forgotten; batch ``n`` carried it out."""

    until: Instant
    n: int


def bucket_of(user: str, buckets: int) -> int:
    """The partition of ``profiles`` that Spark puts the rows of ``user`` into."""
    unsigned = xxhash.xxh64_intdigest(user.encode(), SEED)
    return (unsigned - (unsigned >> 63 << 64)) % buckets


def state_of(tables: Tables, user: str, buckets: int) -> pa.Table:
    """All rows (STATE_SCHEMA) of a canonical id. LakeDown when they cannot be read."""
    columns = ", ".join(f'"{name}"' for name in STATE_SCHEMA.names)
    where = f"bucket = {bucket_of(user, buckets)} AND user_id = {quoted(user)}"
    return tables.ask("profiles", f"SELECT {columns} FROM profiles WHERE {where}")


def ids_of(tables: Tables, user: str) -> set[str]:
    """``user``, a canonical id, and all ids that go by it."""
    found = tables.ask(
        "identities",
        'SELECT user_id, canonical, "n" FROM identities WHERE family IN'
        f" (SELECT family FROM identities WHERE user_id = {quoted(user)})",
    )
    newest = {row["user_id"]: row for row in sorted(found.to_pylist(), key=lambda row: row["n"])}
    return {user, *(name for name, row in newest.items() if row["canonical"] == user)}


def deletions_of(tables: Tables, ids: Iterable[str], secret: str) -> Mapping[str, Deletion | None]:
    """The newest deletion of each of ``ids``, by the tombstones that ``secret`` is the key of.

    No other table knows: a deletion leaves no name behind.
    """
    keys = {tombstone(user, secret): user for user in ids}
    found = tables.ask(
        "tombstones", f'SELECT key, until, "n" FROM tombstones WHERE key IN {among(keys)}'
    )
    newest = {row["key"]: row for row in sorted(found.to_pylist(), key=lambda row: row["n"])}
    deletions: dict[str, Deletion | None] = dict.fromkeys(keys.values())
    for key, row in newest.items():
        if row["until"] >= 0:
            deletions[keys[key]] = Deletion(row["until"], row["n"])
    return deletions
