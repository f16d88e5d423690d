"""The tables under one root, asked by SQL (DataFusion), as they are at each question."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import date

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from headrace.errors import OperatorError


class LakeDown(OperatorError):
    """The tables cannot be read, or are not there yet."""

    def __init__(self, table: str, detail: object) -> None:
        super().__init__(f"the table {table} cannot be read: {detail}", code="HR960")


class Tables:
    """May be asked by several threads."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/").replace("s3a://", "s3://", 1)
        self._tables: dict[str, DeltaTable] = {}
        self._opening = threading.Lock()

    def ask(self, table: str, statement: str) -> pa.Table:
        """What ``statement`` finds in ``table``. LakeDown when it cannot be read."""
        try:
            asking = QueryBuilder().register(table, self._current(table))
            return pa.table(asking.execute(statement).read_all())
        except (DeltaError, OSError) as error:
            raise LakeDown(table, error) from error

    def days(self, table: str) -> set[date]:
        """The days that a table partitioned by them has. LakeDown when it cannot be read."""
        try:
            found = self._current(table).partitions()
        except (DeltaError, OSError) as error:
            raise LakeDown(table, error) from error
        return {date.fromisoformat(part["day"]) for part in found}

    def _current(self, name: str) -> DeltaTable:
        """Table ``name`` in its newest version."""
        with self._opening:
            known = self._tables.get(name)
            if known is None:
                known = self._tables[name] = DeltaTable(f"{self._root}/{name}")
            else:
                known.update_incremental()
            return known


def quoted(text: str) -> str:
    """``text`` as a constant of SQL."""
    return "'" + text.replace("'", "''") + "'"


def among(texts: Iterable[str]) -> str:
    """``texts`` as a list of constants."""
    return f"({', '.join(map(quoted, texts))})"
