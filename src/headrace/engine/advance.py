"""One batch for one group of users: the kernel.

The passes, in order: who is concerned, which events are new, what they fold to, what the
measures were and are, which rules that may change, what they say, when time may speak next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.engine import dues
from headrace.engine.changes import messages
from headrace.engine.fold import folded
from headrace.engine.group import Facts, Users, fact_rows, facts_of, ints, state_rows, users_of
from headrace.engine.measures import measured
from headrace.engine.members import Members
from headrace.engine.program import NEVER, Compiled, compiled
from headrace.engine.reasons import explained
from headrace.engine.repeats import keys_of, repeats
from headrace.engine.rules import Group
from headrace.engine.state import (
    CURRENT,
    ID,
    STAGED,
    STATE_SCHEMA,
    TILE,
    WORD,
    Bools,
    Ints,
    Records,
    Words,
    binary_column,
    empty_state,
    packed,
)  # fmt: skip
from headrace.engine.tiles import Keys, Tiles, merged, most_users, stored_tiles
from headrace.engine.traits import Traits
from headrace.engine.verdicts import Definition, Suspects, turned
from headrace.engine.waiting import entering
from headrace.engine.windows import Windows
from headrace.plan.diff import PlanDiff
from headrace.plan.model import Plan

CELLS = 1 << 24
"""Users times measures in one go: 128 MB of integers, and as many for what they were."""


def advance(
    state: pa.Table,
    events: pa.Table,
    *,
    plan: Plan,
    now: int,
    n: int,
    diff: PlanDiff | None = None,
    full: bool = False,
) -> pa.Table:
    """State rows to append (STATE_SCHEMA) after ``events`` (FACTS_SCHEMA) and the time ``now``.

    ``state`` holds all rows of each user, superseded and staged ones too. A row comes out for
    each user with an event, with ``next_due <= now`` or with staged rows, and, when ``diff`` is
    given, for each whose memberships or next due instant change. ``full`` evaluates every rule
    instead of those whose inputs changed; the result is the same.
    """
    code = compiled(plan)
    state, events = state_rows(state), fact_rows(events)
    users = users_of(state, events, now=now, everyone=diff is not None)
    if not len(users):
        return empty_state()
    most = min(most_users(code), max(1, CELLS // max(1, len(plan.measures))))
    if len(users) <= most:
        return _Batch(code, users, state, events, now, n, diff).rows(full=full)
    parts = []
    for part in range(-(-len(users) // most)):
        some = state.filter(pa.array(users.owner_of_state // most == part))
        facts = events.filter(pa.array(users.owner_of_event // most == part))
        parts.append(advance(some, facts, plan=plan, now=now, n=n, diff=diff, full=full))
    return pa.concat_tables(parts).combine_chunks()


@dataclass(frozen=True, slots=True)
class _Stood:
    """What the users' rows said; users without one said nothing."""

    at: Ints
    next_due: Ints
    first_seen: Ints
    traits: list[str | None]
    tiles: tuple[Words, Ints]
    members: Members

    @staticmethod
    def of(form: Keys, users: Users, state: pa.Table) -> _Stood:
        count = len(users)
        known = np.flatnonzero(users.known)
        rows = state.take(pa.array(users.row[known]))

        def column(name: str, absent: int) -> Ints:
            out = np.full(count, absent, np.int64)
            out[known] = ints(rows[name], absent)
            return out

        records, sizes = packed(rows["tiles"], TILE)
        tiles = stored_tiles(form, np.repeat(known, sizes), records)
        words, sizes = packed(rows["members"], WORD)
        return _Stood(
            at=column("at", 0),
            next_due=column("next_due", NEVER),
            first_seen=column("first_seen", 0),
            # Users never seen have the first numbers.
            traits=[None] * (count - len(known)) + rows["traits"].to_pylist(),
            tiles=tiles,
            members=Members(np.repeat(known, sizes), words),
        )


@dataclass(slots=True)
class _Batch:
    """The values that the passes of one call share."""

    code: Compiled
    users: Users
    state: pa.Table
    events: pa.Table
    now: int
    n: int
    diff: PlanDiff | None

    def rows(self, *, full: bool) -> pa.Table:
        """The state rows to append."""
        code, users, state, now = self.code, self.users, self.state, self.now
        count = len(users)
        form = Keys(code, count)
        stood = _Stood.of(form, users, state)
        keys, has_id = keys_of(self.events)
        ids, _ = packed(state["ids"], ID)
        # A key holds the user it was sent for: ids of other users do no harm here.
        repeated = repeats(self.events, keys, has_id, ids, code.plan.job.horizon_ms)
        arrived = facts_of(self.events, users.owner_of_event, code.type_number)
        counting, waiting = entering(code, users, state, self.events, arrived, ~repeated, now)

        tiles = merged(form, stood.tiles, self._added(form, counting))
        windows = Windows(tiles, now, stood.at)
        was, values = measured(windows, stood.at)
        traits = Traits(code, stood.traits, stood.at, counting, now)

        definition = Definition.of(code, self.diff)
        members, retired = definition.mapped(code, stood.members)
        group = Group(code, users.names, values.table, lambda: traits.now)
        suspects = Suspects.of(code, was.table, values.table, traits.changed(), users.known)
        turns = turned(code, group, members, suspects, count, definition, full=full)
        members = members.toggled(turns.users, code.version_ids[turns.rules])
        due = np.minimum(dues.due_of(windows, values), waiting.due(count))
        due = np.minimum(due, traits.due())

        fresh = arrived.take(~repeated)
        turns = turns.and_(retired)
        transitions = explained(
            code, turns, fresh, counting, told=traits.told, waited=stood.next_due,
            definition=definition, now=now,
        )  # fmt: skip
        shown = traits.shown(users.known)
        spoken_of = np.zeros(count, np.bool_)
        spoken_of[turns.users] = True
        spoken_of[list(shown)] = True
        speaking = np.flatnonzero(spoken_of)
        changes: list[str | None] = [None] * count
        spoken = messages(
            code, transitions, definition.ended, values, users=speaking,
            names=users.names.take(pa.array(speaking)).to_pylist(),
            first_seen=~users.known[speaking],
            traits=[shown.get(user) for user in speaking.tolist()], now=now, n=self.n,
        )  # fmt: skip
        for user, text in zip(speaking.tolist(), spoken, strict=True):
            changes[user] = text
        emitted = np.ones(count, np.bool_)
        if self.diff is not None:
            emitted = (stood.next_due <= now) | ~users.known | (due != stood.next_due)
            for those in (users.owner_of_event, self._staged_owners(), suspects.users, speaking):
                emitted[those] = True
            emitted[members.unlike(stood.members)] = True
        return self._table(
            np.flatnonzero(emitted), traits.texts, tiles, members, due, waiting.texts(count),
            np.where(users.known, stood.first_seen, now), changes,
            ids=self._accepted(keys, has_id & ~repeated),
            duplicates=np.bincount(users.owner_of_event[repeated], minlength=count),
            folded=np.bincount(fresh.owners, minlength=count),
        )  # fmt: skip

    def _staged_rows(self) -> Ints:
        staged = (ints(self.state["layout"], CURRENT) == STAGED) & (self.users.owner_of_state >= 0)
        return np.flatnonzero(staged)

    def _staged_owners(self) -> Ints:
        return self.users.owner_of_state[self._staged_rows()]

    def _added(self, form: Keys, counting: Facts) -> tuple[Words, Ints]:
        """Records of folded facts and of staged history."""
        keys, values = folded(form, counting, self.now)
        rows = self._staged_rows()
        if not len(rows):
            return keys, values
        rows = rows[np.argsort(self.users.owner_of_state[rows], kind="stable")]
        records, sizes = packed(self.state["tiles"].take(pa.array(rows)), TILE)
        owners = np.repeat(self.users.owner_of_state[rows], sizes)
        staged_keys, staged_values = stored_tiles(form, owners, records)
        return np.concatenate([keys, staged_keys]), np.concatenate([values, staged_values])

    def _accepted(self, keys: Words, fresh: Bools) -> tuple[Records, Ints]:
        """The ids of this batch, by user, and how many each has."""
        at = ints(self.events["at"], self.now)
        fresh = fresh & (at >= self.now - self.code.plan.job.horizon_ms)
        rows = np.flatnonzero(fresh)
        owners = self.users.owner_of_event[rows]
        rows = rows[np.lexsort((keys[rows], owners))]
        ids = np.empty(len(rows), ID)
        ids["hash"] = keys[rows]
        ids["at"] = at[rows] // 1_000
        return ids, np.bincount(owners, minlength=len(self.users))

    def _table(
        self, emitted: Ints, traits: list[str | None], tiles: Tiles, members: Members, due: Ints,
        pending: list[str | None], first_seen: Ints, changes: list[str | None], *,
        ids: tuple[Records, Ints], duplicates: Ints, folded: Ints,
    ) -> pa.Table:  # fmt: skip
        count = len(self.users)

        def filled(value: int, type_: pa.DataType) -> pa.Array:
            return pa.array(np.full(len(emitted), value), type_)

        every = len(emitted) == count
        chosen = pa.array(emitted)

        def only(column: pa.Array) -> pa.Array:
            return column if every else column.take(chosen)

        columns = [
            only(self.users.names),
            filled(self.n, pa.int64()),
            filled(self.now, pa.int64()),
            filled(CURRENT, pa.int32()),
            only(pa.array(traits, pa.string())),
            only(binary_column(*tiles.records(self.now))),
            only(binary_column(members.words, np.bincount(members.owners, minlength=count))),
            only(binary_column(*ids)),
            only(pa.array(pending, pa.string())),
            only(pa.array(due, pa.int64(), mask=due == NEVER)),
            only(pa.array(first_seen, pa.int64())),
            only(pa.array(changes, pa.string())),
            only(pa.array(duplicates, pa.int32())),
            only(pa.array(folded, pa.int32())),
        ]
        return pa.table(columns, schema=STATE_SCHEMA)
