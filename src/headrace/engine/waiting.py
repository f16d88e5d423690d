"""Facts ahead of now wait in their user's row and count when their time has come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa

from headrace.engine.group import TRAITS, UNUSED, Facts, Users, ints
from headrace.engine.program import NEVER, Compiled
from headrace.engine.state import ADDING, CURRENT, JOINED, Bools, Ints


@dataclass(frozen=True, slots=True, order=True)
class Fact:
    """A fact that waits, as a state row keeps it."""

    ts: int
    type: str
    properties: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The facts of each user that are still ahead of now."""

    by_user: dict[int, list[Fact]]

    def texts(self, size: int) -> list[str | None]:
        """The column: one text for the same facts in any order."""
        out: list[str | None] = [None] * size
        for user, facts in self.by_user.items():
            rows = [
                {"ts": fact.ts, "type": fact.type, "properties": fact.properties, "id": fact.id}
                for fact in sorted(facts)
            ]
            out[user] = orjson.dumps(rows).decode()
        return out

    def due(self, size: int) -> Ints:
        """Per user the instant at which the first of them counts."""
        out = np.full(size, NEVER, np.int64)
        for user, facts in self.by_user.items():
            out[user] = min(fact.ts for fact in facts)
        return out


def entering(
    code: Compiled, users: Users, state: pa.Table, events: pa.Table, arrived: Facts,
    fresh: Bools, now: int,
) -> tuple[Facts, Waiting]:  # fmt: skip
    """The facts that count from this batch on, and those that wait.

    ``fresh`` says which of ``arrived`` (the facts of ``events``) are no repeats.
    """
    by_user: dict[int, list[Fact]] = {}
    ahead = fresh & (arrived.ts > now)
    for row in np.flatnonzero(ahead).tolist():
        fact = Fact(
            int(arrived.ts[row]), events["type"][row].as_py(),
            arrived.properties[row] or "{}", arrived.ids[row] or "",
        )  # fmt: skip
        by_user.setdefault(int(arrived.owners[row]), []).append(fact)
    again: list[tuple[int, Fact]] = []
    for user, fact in _stored(users, state):
        if fact.ts <= now:
            again.append((user, fact))
        else:
            by_user.setdefault(user, []).append(fact)
    again += _joined_traits(users, state)
    counting = arrived.take(fresh & ~ahead)
    if again:
        counting = counting.joined(facts_of(again, code))
    return counting, Waiting(by_user)


def facts_of(facts: list[tuple[int, Fact]], code: Compiled) -> Facts:
    """(user, fact) pairs as the kernel folds them."""
    numbers = {"traits": TRAITS, **code.type_number}
    properties, ids = np.empty(len(facts), object), np.empty(len(facts), object)
    properties[:] = [fact.properties for _, fact in facts]
    ids[:] = [fact.id for _, fact in facts]
    return Facts(
        np.array([user for user, _ in facts], np.int64),
        np.array([numbers.get(fact.type, UNUSED) for _, fact in facts], np.int64),
        np.array([fact.ts for _, fact in facts], np.int64),
        properties,
        ids,
    )


def _stored(users: Users, state: pa.Table) -> Iterable[tuple[int, Fact]]:
    pending = state["pending"]
    if pending.null_count == len(pending):
        return
    stands = np.isin(ints(state["layout"], CURRENT), ADDING)
    stands[users.row[users.known]] = True
    stands &= users.owner_of_state >= 0
    stands &= pending.combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(stands).tolist():
        for one in orjson.loads(pending[row].as_py()):
            yield int(users.owner_of_state[row]), Fact(**one)


def _joined_traits(users: Users, state: pa.Table) -> Iterable[tuple[int, Fact]]:
    """The traits of states that join others, as the facts that made them."""
    rows = np.flatnonzero(ints(state["layout"], CURRENT) == JOINED)
    for row in rows.tolist():
        known = orjson.loads(state["traits"][row].as_py() or "{}")
        for name, held in known.items():
            text = orjson.dumps({name: held["v"]}, option=orjson.OPT_SORT_KEYS).decode()
            yield int(users.owner_of_state[row]), Fact(held["ts"], "traits", text)
