"""Single events that some slots keep of each user: the first or last ones, or steps of sequences.

Where a value hangs on the order of events no sum of tiles can tell it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import orjson
import pyarrow as pa

from headrace.engine.program import Compiled
from headrace.engine.state import Ints
from headrace.engine.tiles import first_tiles
from headrace.plan.model import Slot
from headrace.rules.model import MOST_STEPS_KEPT

Entry: TypeAlias = tuple[int, str, Any]
"""ts, event id, and a value on its line; of a sequence, the steps it matches as bits."""

Log: TypeAlias = dict[int, dict[int, list[Entry]]]
"""Place of the slot -> user -> entries, in order."""


@dataclass(frozen=True, slots=True)
class Logs:
    """The logs of a group, as they were and as they are."""

    code: Compiled
    before: Log
    now: Log

    @staticmethod
    def of(code: Compiled, stored: Log, added: Iterable[Log]) -> Logs:
        """``stored`` logs with ``added`` entries, in any order."""
        slots, now = code.plan.slots, {place: dict(of) for place, of in stored.items()}
        for more in added:
            for place, of in more.items():
                entries = now.setdefault(place, {})
                for user, some in of.items():
                    entries[user] = kept(slots[place], [*entries.get(user, ()), *some])
        return Logs(code, stored, now)

    def texts(self, size: int, now: int) -> list[str | None]:
        """The column: per user a JSON object of slot id -> entries."""
        plan = self.code.plan
        first = first_tiles(self.code.keeps, self.code.hops, now).tolist()
        rows: dict[int, dict[str, list[Entry]]] = {}
        for place, of in self.now.items():
            slot = plan.slots[place]
            for user, entries in of.items():
                alive = [e for e in entries if not slot.hop or e[0] // slot.hop >= first[place]]
                if alive:
                    rows.setdefault(user, {})[str(slot.id)] = alive
        out: list[str | None] = [None] * size
        for user, row in rows.items():
            out[user] = orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode()
        return out


def kept(slot: Slot, entries: list[Entry]) -> list[Entry]:
    """Of ``entries`` those that the slot keeps, in order."""
    entries = sorted(entries)
    match slot.accumulator:
        case "last":
            return entries[-1:]
        case "steps":
            return entries[-MOST_STEPS_KEPT:]
        case _:
            firsts: dict[int, Entry] = {}
            for entry in entries:
                firsts.setdefault(entry[0] // slot.hop if slot.hop else 0, entry)
            return list(firsts.values())


def stored_logs(code: Compiled, owners: Ints, texts: pa.ChunkedArray) -> list[tuple[int, Log]]:
    """What state rows hold of the plan's slots: (row, log) of each that holds something."""
    if not code.logged or texts.null_count == len(texts):
        return []
    places = {str(code.slot_ids[place]): place for place in code.logged}
    logs = []
    for row in np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False)).tolist():
        held = orjson.loads(texts[row].as_py())
        owner = int(owners[row])
        log: Log = {
            places[id_]: {owner: [(ts, id, value) for ts, id, value in entries]}
            for id_, entries in held.items()
            if id_ in places
        }
        logs.append((row, log))
    return logs
