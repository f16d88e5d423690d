"""The tables under one root, asked by SQL (DataFusion), as they are at each question."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import date
from typing import TypeVar

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from headrace.errors import OperatorError

T = TypeVar("T")


class LakeDown(OperatorError):
    """A table cannot be read, or is not there yet."""

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

        def answer(current: DeltaTable) -> pa.Table:
            return pa.table(QueryBuilder().register(table, current).execute(statement).read_all())

        return self._read(table, answer)

    def days(self, table: str) -> set[date]:
        """The days that a table partitioned by them has. LakeDown when it cannot be read."""
        found = self._read(table, lambda current: current.partitions())
        return {date.fromisoformat(part["day"]) for part in found}

    def _read(self, name: str, answer: Callable[[DeltaTable], T]) -> T:
        """What ``answer`` finds in the newest version.

        Once more from the start where that fails: files may have been vacuumed meanwhile, and a
        table that was restored is another one. delta-rs raises bare exceptions for both.
        """
        try:
            return answer(self._current(name))
        except Exception:
            with self._opening:
                self._tables.pop(name, None)
        try:
            return answer(self._current(name))
        except Exception as error:
            raise LakeDown(name, error) from error

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
