"""What the stored rows of a group's users say of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.engine.group import Users, ints
from headrace.engine.logs import Log, stored_logs
from headrace.engine.members import Members
from headrace.engine.program import NEVER
from headrace.engine.state import TILE, WORD, Ints, Words, packed
from headrace.engine.tiles import Keys, stored_tiles


@dataclass(frozen=True, slots=True)
class Begun:
    """Slots (ids) that are folded since batch ``since``.

    What older rows hold of them is left from an earlier time, when another plan folded them too;
    the history that is staged for them has it again.
    """

    slots: frozenset[int]
    since: int


@dataclass(frozen=True, slots=True)
class Stood:
    """What the users' rows said; users without one said nothing."""

    at: Ints
    next_due: Ints
    first_seen: Ints
    traits: list[str | None]
    tiles: tuple[Words, Ints]
    log: Log
    stays: list[str | None]
    members: Members

    @staticmethod
    def of(form: Keys, users: Users, state: pa.Table, begun: Begun | None) -> Stood:
        count = len(users)
        known = np.flatnonzero(users.known)
        rows = state.take(pa.array(users.row[known]))

        def column(name: str, absent: int) -> Ints:
            out = np.full(count, absent, np.int64)
            out[known] = ints(rows[name], absent)
            return out

        records, sizes = packed(rows["tiles"], TILE)
        owners = np.repeat(known, sizes)
        if begun is not None:
            old = np.repeat(ints(rows["n"], -1) < begun.since, sizes)
            kept = ~(old & np.isin(records["slot"], list(begun.slots)))
            owners, records = owners[kept], records[kept]
        tiles = stored_tiles(form, owners, records)
        log: Log = {}
        written = ints(rows["n"], -1)
        for row, of in stored_logs(form.code, known, rows["logs"]):
            for place, entries in of.items():
                is_old = begun is not None and int(written[row]) < begun.since
                if begun is None or not (is_old and form.code.slot_ids[place] in begun.slots):
                    log.setdefault(place, {}).update(entries)
        words, sizes = packed(rows["members"], WORD)
        return Stood(
            at=column("at", 0),
            next_due=column("next_due", NEVER),
            first_seen=column("first_seen", NEVER),
            # Users never seen have the first numbers.
            traits=[None] * (count - len(known)) + rows["traits"].to_pylist(),
            tiles=tiles,
            log=log,
            stays=[*[None] * (count - len(known)), *_texts(rows["stays"])],
            members=Members(np.repeat(known, sizes), words),
        )


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    # Most states have none of these: a million Nones are made faster than read.
    if column.null_count == len(column):
        return [None] * len(column)
    texts: list[str | None] = column.to_pylist()
    return texts
