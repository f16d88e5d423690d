"""Where a user stands, by the tables.

DataFusion reads only the pages of the files of his bucket that may hold him.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import pyarrow as pa
import xxhash

from headrace.clock import Instant
from headrace.engine.state import STATE_SCHEMA
from headrace.lake.tables import Tables, quoted

SEED: Final = 42
"""Of Spark's xxhash64."""


class Identity(NamedTuple):
    """Whom an id goes by, and the instant up to which its facts are forgotten."""

    canonical: str
    forgotten: Instant | None


def bucket_of(user: str, buckets: int) -> int:
    """The partition of ``profiles`` that Spark puts the rows of ``user`` into."""
    unsigned = xxhash.xxh64_intdigest(user.encode(), SEED)
    return (unsigned - (unsigned >> 63 << 64)) % buckets


def state_of(tables: Tables, user: str, buckets: int) -> pa.Table:
    """All rows (STATE_SCHEMA) of a canonical id. LakeDown when they cannot be read."""
    columns = ", ".join(f'"{name}"' for name in STATE_SCHEMA.names)
    where = f"bucket = {bucket_of(user, buckets)} AND user_id = {quoted(user)}"
    return tables.ask("profiles", f"SELECT {columns} FROM profiles WHERE {where}")


def identities_of(tables: Tables, user: str) -> Mapping[str, Identity]:
    """All ids that were ever joined with ``user``, or deleted as one of them."""
    found = tables.ask(
        "identities",
        'SELECT user_id, canonical, forgotten, "n" FROM identities WHERE family IN'
        f" (SELECT family FROM identities WHERE user_id = {quoted(user)})",
    )
    newest = {row["user_id"]: row for row in sorted(found.to_pylist(), key=lambda row: row["n"])}
    return {name: Identity(row["canonical"], row["forgotten"]) for name, row in newest.items()}
