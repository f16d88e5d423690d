"""Histories walked step by step: where users stand in stays, told from their facts alone.

Each instant at which something happens to a user, or time changes something for him, is a step.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.engine.dues import due_of
from headrace.engine.fold import folded
from headrace.engine.group import Facts, Users, fact_rows, facts_of, users_of
from headrace.engine.logs import Logs
from headrace.engine.measures import measured
from headrace.engine.program import NEVER, Compiled, compiled
from headrace.engine.rules import Group
from headrace.engine.state import CURRENT, STATE_SCHEMA, Ints, empty_state
from headrace.engine.stays import Stays
from headrace.engine.tiles import Keys, merged
from headrace.engine.traits import Traits
from headrace.engine.windows import Windows
from headrace.plan.model import Plan


def walked(events: pa.Table, *, plan: Plan, at: int) -> pa.Table:
    """State rows (STATE_SCHEMA) that say of each user how he stands in stays at ``at``, no more.

    ``events`` (FACTS_SCHEMA) are all facts of whole users up to ``at``, without repeats.
    """
    code = compiled(plan)
    events = fact_rows(events)
    users = users_of(empty_state(), events, now=at, everyone=False)
    walk = _Walk(code, users, facts_of(events, users.owner_of_event, code.type_number))
    while walk.step(until=at):
        pass
    size = len(users)
    columns = {
        "user_id": users.names,
        "n": pa.array(np.zeros(size), pa.int64()),
        "at": pa.array(np.zeros(size), pa.int64()),
        "layout": pa.array(np.full(size, CURRENT), pa.int32()),
        "stays": pa.array(walk.texts, pa.string()),
    }
    return pa.table(
        [columns.get(field.name, pa.nulls(size, field.type)) for field in STATE_SCHEMA],
        schema=STATE_SCHEMA,
    )


class _Walk:
    """All users of a group on their ways, each at an instant of his own."""

    def __init__(self, code: Compiled, users: Users, facts: Facts) -> None:
        self._code, self._names = code, users.names
        self._slots = {s for m in code.held_measures for s in code.plan.measures[m].slots}
        self._facts = facts.take(np.lexsort((facts.ts, facts.owners)))
        size = len(users)
        self._starts = np.searchsorted(self._facts.owners, np.arange(size + 1))
        self._next = self._starts[:-1].copy()  # the first fact that is still ahead
        self._due = np.full(size, NEVER, np.int64)
        self.texts: list[str | None] = [None] * size

    def step(self, *, until: int) -> bool:
        """Take everybody to his next instant; False when there is none up to ``until``."""
        ahead = np.append(self._facts.ts, NEVER)[self._next]
        ahead[self._next == self._starts[1:]] = NEVER
        instants = np.minimum(ahead, self._due)
        users = np.flatnonzero(instants <= until)
        if not len(users):
            return False
        now = instants[users]
        facts = self._until(users, now)
        form = Keys(self._code, len(users))
        # Nothing is too old at every instant of a history.
        found = folded(form, facts, 0, self._slots)
        nothing = np.empty(0, np.uint64), np.empty(0, np.int64)
        tiles = merged(form, nothing, (found.keys, found.values))
        windows = Windows(tiles, Logs.of(self._code, {}, [found.log]), now, now)
        only = self._code.held_measures
        values = measured(windows, only)
        traits = Traits(self._code, [None] * len(users), now, facts, now)
        names = self._names.take(pa.array(users))
        group = Group(self._code, names, values.table, lambda: traits.now)
        stays = Stays(self._code, [self.texts[user] for user in users.tolist()])
        stays.step(group, values.table, now, np.ones(len(users), np.bool_))
        for user, text in zip(users.tolist(), stays.texts(), strict=True):
            self.texts[user] = text
        due = np.minimum(due_of(windows, values, only), np.minimum(traits.due(), stays.due(now)))
        assert (due > now).all()
        self._due[users] = due
        return True

    def _until(self, users: Ints, now: Ints) -> Facts:
        """The facts of ``users`` up to their instants, owned by their places; and go there."""
        first, last = self._starts[users], self._starts[users + 1]
        rows = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        owners = np.repeat(np.arange(len(users)), last - first)
        reached = self._facts.ts[rows] <= now[owners]
        self._next[users] = first + np.bincount(owners[reached], minlength=len(users))
        facts = self._facts.take(rows[reached])
        return Facts(owners[reached], facts.kinds, facts.ts, facts.properties, facts.ids)
