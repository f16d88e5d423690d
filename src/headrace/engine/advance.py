"""One batch for one group of users: the kernel.

The passes, in order: who is concerned, which events are new, what they fold to, what the
measures were and are, which rules that may change, what they say, when time may speak next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine import dues
from headrace.engine.changes import Transitions, messages
from headrace.engine.fold import Folded, folded
from headrace.engine.group import LOST, Users, fact_rows, facts_of, input_rows, ints, users_of
from headrace.engine.logs import Log, Logs, stored_logs
from headrace.engine.measures import Values, formerly, measured
from headrace.engine.program import NEVER, Compiled, compiled
from headrace.engine.reasons import CAUSES, explained
from headrace.engine.repeats import keys_of, live_ids, named_places, newest_ids, repeats
from headrace.engine.rules import Group
from headrace.engine.standing import Begun, Stood
from headrace.engine.state import (
    ADDING,
    CURRENT,
    ID,
    JOINED,
    STATE_SCHEMA,
    TILE,
    Bools,
    Ints,
    Records,
    Words,
    binary_column,
    empty_state,
    packed,
)  # fmt: skip
from headrace.engine.stays import Stays
from headrace.engine.tiles import Keys, merged, most_users, stored_tiles
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
    begun: Begun | None = None,
    full: bool = False,
    silent: bool = False,
) -> pa.Table:
    """State rows to append (STATE_SCHEMA) after ``events`` (FACTS_SCHEMA) and the time ``now``.

    ``state`` holds all rows of each user, superseded and staged ones too. A row comes out for
    each user with an event, with ``next_due <= now`` or with staged rows, and, when ``diff`` is
    given, for each whose memberships or next due instant change. ``full`` evaluates every rule
    instead of those whose inputs changed; the result is the same, unless a user's rows do not
    say what his memberships rested on: those with a ``cause`` need it. ``silent`` rows hold no
    messages of what changed: nobody is to hear of it.
    """
    code = compiled(plan)
    state, events = input_rows(state), fact_rows(events)
    users = users_of(state, events, now=now, everyone=diff is not None)
    if not len(users):
        return empty_state()
    most = min(most_users(code), max(1, CELLS // max(1, len(plan.measures))))
    if len(users) <= most:
        return _Batch(code, users, state, events, now, n, diff, begun, silent).rows(full=full)
    parts = []
    for part in range(-(-len(users) // most)):
        some = state.filter(pa.array(users.owner_of_state // most == part))
        facts = events.filter(pa.array(users.owner_of_event // most == part))
        parts.append(
            advance(
                some, facts, plan=plan, now=now, n=n, diff=diff, begun=begun, full=full,
                silent=silent,
            )
        )  # fmt: skip
    return pa.concat_tables(parts).combine_chunks()


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
    begun: Begun | None
    silent: bool

    def rows(self, *, full: bool) -> pa.Table:
        """The state rows to append."""
        code, users, state, now = self.code, self.users, self.state, self.now
        count = len(users)
        form = Keys(code, count)
        stood = Stood.of(form, users, state, self.begun)
        keys, has_id = keys_of(self.events)
        ids, _ = packed(state["ids"], ID)
        # A key holds the user it was sent for: ids of other users do no harm here.
        repeated = repeats(self.events, keys, has_id, ids, code.plan.job.horizon_ms)
        arrived = facts_of(self.events, users.owner_of_event, code.type_number)
        counting, waiting = entering(code, users, state, self.events, arrived, ~repeated, now)

        found = folded(form, counting, now)
        first_seen = self._first_seen(stood, counting.owners[counting.kinds != LOST])
        # Of whom all that came still waits for its time, nothing is known yet.
        seen, was_seen = first_seen != NEVER, users.known & (stood.first_seen != NEVER)
        tiles = merged(form, stood.tiles, self._added(form, found))
        logs = Logs.of(code, stood.log, [found.log, *self._added_logs()])
        windows = Windows(tiles, logs, now, stood.at)
        was, values = formerly(windows, stood.at), measured(windows)
        traits = Traits(code, stood.traits, stood.at, counting, now)

        causes = self._causes()
        definition = Definition.of(code, self.diff)
        members, retired = definition.mapped(code, stood.members)
        group = Group(code, users.names, values.table, lambda: traits.now)
        stays = Stays(code, stood.stays, self.diff.added_stays if self.diff else ())
        stays.fill(was.table)
        stays.step(group, values.table, now, seen)
        suspects = Suspects.of(code, was.table, values.table, traits.changed(), was_seen)
        turns = turned(code, group, members, suspects, count, definition, full=full)
        turns = turns.among(seen, code, members)
        members = members.toggled(turns.users, code.version_ids[turns.rules])
        due = np.minimum(dues.due_of(windows, values), waiting.due(count))
        due = np.minimum(due, np.minimum(traits.due(), stays.due(now)))

        fresh = arrived.take(~repeated)
        turns = turns.and_(retired)
        speaking = np.empty(0, np.int64)
        changes: list[str | None] = [None] * count
        if not self.silent:
            transitions = explained(
                code, turns, fresh, counting, told=traits.told, waited=stood.next_due,
                causes=causes, definition=definition, now=now,
            )  # fmt: skip
            shown = traits.shown(~seen | (was_seen & (causes < 0)))
            strangers = ~was_seen & ~(users.known & (causes >= 0))
            speaking, changes = self._spoken(transitions, shown, definition, values, strangers)
        emitted = np.ones(count, np.bool_)
        if self.diff is not None:
            emitted = (stood.next_due <= now) | ~users.known | (due != stood.next_due)
            for those in (users.owner_of_event, self._adding_owners(), suspects.users, speaking):
                emitted[those] = True
            emitted[members.unlike(stood.members)] = True
            told = zip(stays.texts(), stood.stays, strict=True)
            emitted[[place for place, (new, old) in enumerate(told) if new != old]] = True
        ids_kept, ids_of_each, ids_lost = self._accepted(keys, has_id & ~repeated)
        columns = {
            "user_id": users.names,
            "n": np.full(count, self.n),
            "at": np.full(count, now),
            "layout": np.full(count, CURRENT),
            "traits": traits.texts,
            "tiles": binary_column(*tiles.records(now)),
            "logs": logs.texts(count, now),
            "stays": stays.texts(),
            "members": binary_column(members.words, np.bincount(members.owners, minlength=count)),
            "ids": binary_column(ids_kept, ids_of_each),
            "ids_lost": ids_lost,
            "pending": waiting.texts(count),
            "next_due": pa.array(due, pa.int64(), mask=due == NEVER),
            "first_seen": pa.array(first_seen, pa.int64(), mask=~seen),
            "changes": changes,
            "duplicates": np.bincount(users.owner_of_event[repeated], minlength=count),
            "folded": np.bincount(fresh.owners, minlength=count),
            "repeated": named_places(self.events, repeated, users.owner_of_event, count),
        }
        arrays = [
            of if isinstance(of, pa.Array) else pa.array(of, field.type)
            for field, of in ((field, columns[field.name]) for field in STATE_SCHEMA)
        ]
        if not emitted.all():
            chosen = pa.array(np.flatnonzero(emitted))
            arrays = [array.take(chosen) for array in arrays]
        return pa.table(arrays, schema=STATE_SCHEMA)

    def _spoken(
        self,
        transitions: Transitions,
        shown: Mapping[int, str],
        definition: Definition,
        values: Values,
        strangers: Bools,
    ) -> tuple[Ints, list[str | None]]:
        """The users there is something to say of, and for everybody the text, if there is one."""
        users, count = self.users, len(self.users)
        spoken_of = np.zeros(count, np.bool_)
        spoken_of[transitions.users] = True
        spoken_of[list(shown)] = True
        speaking = np.flatnonzero(spoken_of)
        texts: list[str | None] = [None] * count
        spoken = messages(
            self.code, transitions, definition.ended, values, users=speaking,
            names=users.names.take(pa.array(speaking)).to_pylist(),
            first_seen=strangers[speaking],
            traits=[shown.get(user) for user in speaking.tolist()], now=self.now, n=self.n,
        )  # fmt: skip
        for user, text in zip(speaking.tolist(), spoken, strict=True):
            texts[user] = text
        return speaking, texts

    def _adding_rows(self) -> Ints:
        adds = np.isin(ints(self.state["layout"], CURRENT), ADDING)
        return np.flatnonzero(adds & (self.users.owner_of_state >= 0))

    def _joined_rows(self) -> Ints:
        rows = self._adding_rows()
        joined: Ints = rows[ints(self.state["layout"], CURRENT)[rows] == JOINED]
        return joined

    def _causes(self) -> Ints:
        """Per user the place in CAUSES of what changed his identity; -1 for nothing."""
        causes = np.full(len(self.users), -1, np.int64)
        given = self.state["cause"]
        if given.null_count < len(given):
            for place, cause in reversed(list(enumerate(CAUSES))):
                rows = np.flatnonzero(pc.equal(given, cause).fill_null(False).to_numpy())
                owners = self.users.owner_of_state[rows]
                causes[owners[owners >= 0]] = place
        return causes

    def _first_seen(self, stood: Stood, owners: Ints) -> Ints:
        """When each user's first fact came true, given whose facts do now; NEVER where none has."""
        seen = np.where(self.users.known, stood.first_seen, NEVER)
        rows = self._joined_rows()
        others = ints(self.state["first_seen"], NEVER)[rows]
        np.minimum.at(seen, self.users.owner_of_state[rows], others)
        seen[owners[seen[owners] == NEVER]] = self.now
        return seen

    def _adding_owners(self) -> Ints:
        return self.users.owner_of_state[self._adding_rows()]

    def _added(self, form: Keys, found: Folded) -> tuple[Words, Ints]:
        """Records of folded facts and of rows that add."""
        rows = self._adding_rows()
        if not len(rows):
            return found.keys, found.values
        rows = rows[np.argsort(self.users.owner_of_state[rows], kind="stable")]
        records, sizes = packed(self.state["tiles"].take(pa.array(rows)), TILE)
        owners = np.repeat(self.users.owner_of_state[rows], sizes)
        keys, values = stored_tiles(form, owners, records)
        return np.concatenate([found.keys, keys]), np.concatenate([found.values, values])

    def _added_logs(self) -> list[Log]:
        rows = self._adding_rows()
        owners = self.users.owner_of_state[rows]
        texts = self.state["logs"].take(pa.array(rows))
        return [log for _, log in stored_logs(self.code, owners, texts)]

    def _accepted(self, keys: Words, fresh: Bools) -> tuple[Records, Ints, Ints]:
        """The ids of this batch and of states that join, by user; how many each has, and lost."""
        at = ints(self.events["at"], self.now)
        fresh = fresh & (at >= self.now - self.code.plan.job.horizon_ms)
        rows = newest_ids(self.events, np.flatnonzero(fresh), self.users.owner_of_event)
        owners = self.users.owner_of_event[rows]
        arrived = np.bincount(self.users.owner_of_event[fresh], minlength=len(self.users))
        lost = arrived - np.bincount(owners, minlength=len(self.users))
        ids = np.empty(len(rows), ID)
        ids["hash"] = keys[rows]
        ids["at"] = at[rows] // 1_000
        joined = self._joined_rows()
        if len(joined):
            others, sizes = packed(self.state["ids"].take(pa.array(joined)), ID)
            ids = np.concatenate([ids, others])
            owners = np.concatenate([owners, np.repeat(self.users.owner_of_state[joined], sizes)])
            oldest = (self.now - self.code.plan.job.horizon_ms) // 1_000
            kept, counts, more = live_ids(ids, owners, len(self.users), oldest)
            return kept, counts, lost + more
        order = np.lexsort((ids["hash"], owners))
        return ids[order], np.bincount(owners, minlength=len(self.users)), lost
