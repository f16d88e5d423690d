"""What the tables hold of a user.

DataFusion reads only the pages of the files of his bucket that may hold him.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import xxhash
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from headrace.engine.state import STATE_SCHEMA
from headrace.errors import OperatorError

SEED: Final = 42
"""Of Spark's xxhash64."""


class LakeDown(OperatorError):
    """The tables cannot be read, or are not there yet."""

    def __init__(self, table: str, detail: object) -> None:
        super().__init__(f"the table {table} cannot be read: {detail}", code="HR960")


def bucket_of(user: str, buckets: int) -> int:
    """The partition of ``profiles`` that Spark puts the rows of ``user`` into."""
    unsigned = xxhash.xxh64_intdigest(user.encode(), SEED)
    return (unsigned - (unsigned >> 63 << 64)) % buckets


class UserTables:
    """The tables under one root, as they are at each question. May be asked by several threads."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/").replace("s3a://", "s3://", 1)
        self._tables: dict[str, DeltaTable] = {}
        self._opening = threading.Lock()

    def state(self, user: str, buckets: int) -> pa.Table:
        """All rows (STATE_SCHEMA) of a canonical id. LakeDown when they cannot be read."""
        columns = ", ".join(f'"{name}"' for name in STATE_SCHEMA.names)
        where = f"bucket = {bucket_of(user, buckets)} AND user_id = {_quoted(user)}"
        return self._asked("profiles", f"SELECT {columns} FROM profiles WHERE {where}")

    def identities(self, user: str) -> Mapping[str, str]:
        """All ids that were ever joined with ``user``, each with the one it goes by."""
        found = self._asked(
            "identities",
            'SELECT user_id, canonical, "n" FROM identities WHERE family IN'
            f" (SELECT family FROM identities WHERE user_id = {_quoted(user)})",
        )
        newest: dict[str, tuple[int, str]] = {}
        for row in found.to_pylist():
            told = (row["n"], row["canonical"])
            newest[row["user_id"]] = max(newest.get(row["user_id"], told), told)
        return {name: canonical for name, (_, canonical) in newest.items()}

    def _asked(self, table: str, statement: str) -> pa.Table:
        try:
            asking = QueryBuilder().register(table, self._current(table))
            return pa.table(asking.execute(statement).read_all())
        except (DeltaError, OSError) as error:
            raise LakeDown(table, error) from error

    def _current(self, name: str) -> DeltaTable:
        """Table ``name`` in its newest version."""
        with self._opening:
            known = self._tables.get(name)
            if known is None:
                known = self._tables[name] = DeltaTable(f"{self._root}/{name}")
            else:
                known.update_incremental()
            return known


def _quoted(text: str) -> str:
    """``text`` as a constant of SQL."""
    return "'" + text.replace("'", "''") + "'"
