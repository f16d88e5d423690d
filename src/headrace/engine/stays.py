"""Hysteresis: who is in a segment because he was, and who is not yet in again.

A stay is a measure that the state carries: 1 for those who are in. It takes one step per batch,
after the other measures and before the rules that look at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from headrace.engine.program import NEVER, Compiled
from headrace.engine.rules import Group
from headrace.engine.state import Bools, Ints
from headrace.plan.model import Stay

ALWAYS_OUT = -(1 << 62)
"""Since when those are out who never were in: no cooldown lasts that long."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Per user: is he in, and since when he is, or is not."""

    inside: Bools
    since: Ints


class Stays:
    """The stays of a group: as rows say, and after `step`."""

    def __init__(
        self, code: Compiled, texts: Sequence[str | None], begun: Iterable[int] = ()
    ) -> None:
        """``texts`` are the users' columns; of stays that have just ``begun`` nothing counts."""
        self._stays, self._texts = code.plan.stays, texts
        held = self._read(frozenset(begun)) if self._stays else {}
        self.now = {stay.id: _standing(held.get(stay.id, {}), len(texts)) for stay in self._stays}

    def _read(self, begun: frozenset[int]) -> dict[int, dict[int, tuple[int, int]]]:
        held: dict[int, dict[int, tuple[int, int]]] = {}
        for user, text in enumerate(self._texts):
            if text is not None:
                for id_, (inside, since) in orjson.loads(text).items():
                    if int(id_) not in begun:
                        held.setdefault(int(id_), {})[user] = inside, since
        return held

    def fill(self, table: Ints) -> None:
        """Write who is in into ``table[measure, user]``."""
        for stay in self._stays:
            table[stay.measure] = self.now[stay.id].inside

    def step(self, group: Group, table: Ints, now: int | Ints, seen: Bools) -> None:
        """Let those of ``seen`` enter and leave who do ``now``; ``table`` has it afterwards."""
        for stay in self._stays:
            after = _stepped(stay, self.now[stay.id], group, now, seen)
            self.now[stay.id] = after
            table[stay.measure] = after.inside

    def due(self, now: int | Ints) -> Ints:
        """Per user the end of the next dwell or cooldown after ``now``."""
        due = np.full(len(self._texts), NEVER, np.int64)
        for stay in self._stays:
            held = self.now[stay.id]
            ends = held.since + np.where(held.inside, stay.min_dwell, stay.cooldown)
            np.minimum(due, np.where(ends > now, ends, NEVER), out=due)
        return due

    def texts(self) -> list[str | None]:
        """The column: stay id -> [in, since]; nothing of stays that never let the user in."""
        if not self._stays:
            return [None] * len(self._texts)
        rows: list[dict[str, list[int]]] = [{} for _ in self._texts]
        for stay in self._stays:
            held = self.now[stay.id]
            for user in np.flatnonzero(held.since != ALWAYS_OUT).tolist():
                rows[user][str(stay.id)] = [int(held.inside[user]), int(held.since[user])]
        return [orjson.dumps(row, option=orjson.OPT_SORT_KEYS).decode() if row else None
                for row in rows]  # fmt: skip


def _standing(held: Mapping[int, tuple[int, int]], size: int) -> Standing:
    inside, since = np.zeros(size, np.bool_), np.full(size, ALWAYS_OUT, np.int64)
    for user, (is_in, instant) in held.items():
        inside[user], since[user] = bool(is_in), instant
    return Standing(inside, since)


def _stepped(stay: Stay, held: Standing, group: Group, now: int | Ints, seen: Bools) -> Standing:
    match = group.holds(stay.match)
    leaving = ~match if stay.exit is None else group.holds(stay.exit)
    may = now - held.since >= np.where(held.inside, stay.min_dwell, stay.cooldown)
    turns = seen & may & np.where(held.inside, leaving, match & ~leaving)
    return Standing(held.inside ^ turns, np.where(turns, now, held.since))
