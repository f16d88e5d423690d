"""The users of one call: who they are, the state each had, the facts each has now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.identity import FORGOTTEN, LINKS
from headrace.engine.program import NEVER
from headrace.engine.state import (
    ADDING,
    ARRIVED_SCHEMA,
    CURRENT,
    GONE,
    INPUT_SCHEMA,
    JOINED,
    STAGED,
    STATE_SCHEMA,
    Bools,
    Ints,
)

UNUSED, TRAITS, LOST = -1, -2, -3
"""Numbers of event types that no measure uses, of trait facts, and of forgotten ones."""


@dataclass(frozen=True, slots=True)
class Users:
    """The users that a batch concerns, numbered; their names and the row each stood at.

    ``row`` is -1 for those never seen (or gone); ``owner_of_state`` and ``owner_of_event`` give
    the number of each row's user, -1 for users whom nothing happens to.
    """

    names: pa.Array
    row: Ints
    owner_of_state: Ints
    owner_of_event: Ints

    def __len__(self) -> int:
        return len(self.row)

    @property
    def known(self) -> Bools:
        """Who has a state."""
        seen: Bools = self.row >= 0
        return seen


def users_of(
    state: pa.Table, events: pa.Table, *, now: int, everyone: bool, departed: bool = False
) -> Users:
    """Number those with an event, rows that add, or a due state; with ``everyone``, all of them.

    ``departed`` counts rows of users who are gone as a state too.
    Users are numbered in the order of their rows, so that what hangs on rows stays sorted.
    """
    ids = pa.chunked_array(
        [*_strings(state["user_id"]).chunks, *_strings(events["user_id"]).chunks], pa.string()
    )
    coded = ids.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    of_state, of_event = codes[: len(state)], codes[len(state) :]
    count = len(coded.dictionary)
    layout = ints(state["layout"], CURRENT)
    row = np.full(count, -1, np.int64)
    rows = np.flatnonzero(~np.isin(layout, ADDING))
    if len(rows):
        order = rows[np.lexsort((ints(state["n"], -1)[rows], of_state[rows]))]
        row[of_state[order]] = order  # the greatest n of a user is written last
    gone = np.zeros(count, np.bool_)
    if len(rows) and not departed:
        gone = (row >= 0) & (layout[row] == GONE)
    row[gone] = -1
    concerned = np.zeros(count, np.bool_)
    if not departed:
        concerned[of_state[layout == STAGED]] = True
    concerned[gone] = False
    concerned[of_state[layout == JOINED]] = True
    concerned[of_event] = True
    stands = np.flatnonzero(row >= 0)
    due = ints(state["next_due"], NEVER)[row[stands]] if len(stands) else np.empty(0, np.int64)
    concerned[stands[(due <= now) | everyone]] = True
    chosen = np.flatnonzero(concerned)
    chosen = chosen[np.argsort(row[chosen], kind="stable")]
    number = np.full(count, -1, np.int64)
    number[chosen] = np.arange(len(chosen))
    return Users(
        names=coded.dictionary.take(pa.array(chosen)),
        row=row[chosen],
        owner_of_state=number[of_state],
        owner_of_event=number[of_event],
    )


def normalised(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table`` with the columns of ``schema`` in one chunk each; absent ones are null."""
    columns = []
    for field in schema:
        if field.name in table.column_names:
            column = table[field.name]
            if column.type != field.type and not pa.types.is_large_binary(column.type):
                column = column.cast(field.type)
            columns.append(column.combine_chunks() if column.num_chunks != 1 else column)
        else:
            columns.append(pa.nulls(len(table), field.type))
    return pa.table(dict(zip(schema.names, columns, strict=True)))


def state_rows(table: pa.Table) -> pa.Table:
    """STATE_SCHEMA, whatever of it was given."""
    return normalised(table, STATE_SCHEMA)


def input_rows(table: pa.Table) -> pa.Table:
    """INPUT_SCHEMA, whatever of it was given."""
    return normalised(table, INPUT_SCHEMA)


def fact_rows(table: pa.Table) -> pa.Table:
    """ARRIVED_SCHEMA, without the lines that speak of identities."""
    rows = normalised(table, ARRIVED_SCHEMA)
    link = pc.is_in(rows["type"], pa.array(LINKS))
    return rows.filter(pc.invert(link)) if pc.any(link).as_py() else rows


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if column.type == pa.string() else column.cast(pa.string())


def ints(column: pa.ChunkedArray, absent: int) -> Ints:
    """A column of integers with ``absent`` for null."""
    filled = column.fill_null(absent) if column.null_count else column
    read: Ints = filled.to_numpy().astype(np.int64, copy=False)
    return read


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of numbered users: of types in the plan, TRAITS, UNUSED or LOST ones."""

    owners: Ints
    kinds: Ints
    ts: Ints
    properties: npt.NDArray[np.object_]
    ids: npt.NDArray[np.object_]

    def take(self, rows: Ints | Bools) -> Facts:
        return Facts(*(getattr(self, name)[rows] for name in self.__slots__))

    def joined(self, other: Facts) -> Facts:
        return Facts(
            *(
                np.concatenate([getattr(of, name) for of in (self, other)])
                for name in self.__slots__
            )
        )


def facts_of(events: pa.Table, owners: Ints, types: Mapping[str, int]) -> Facts:
    """Facts of a table of them."""
    coded = events["type"].combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    numbered = {**types, "traits": TRAITS, FORGOTTEN: LOST}
    numbers = [numbered.get(kind, UNUSED) for kind in coded.dictionary.to_pylist()]
    kinds = np.array([*numbers, UNUSED], np.int64)[coded.indices.fill_null(-1).to_numpy()]
    properties, ids = (events[name].to_numpy() for name in ("properties", "event_id"))
    return Facts(owners, kinds, ints(events["ts"], 0), properties, ids)
