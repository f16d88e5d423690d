"""States that the stream holds against what the stored facts come to, user by user.

The facts are told anew from the first one on, by the same kernel; where the two differ, one of
the many batches, hand-overs and repairs in between has gone wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.advance import advance
from headrace.engine.group import fact_rows, ints, state_rows, users_of
from headrace.engine.identity import FORGOTTEN
from headrace.engine.logs import Logs, stored_logs
from headrace.engine.members import Members
from headrace.engine.program import NEVER, Compiled, compiled
from headrace.engine.state import (
    BITS,
    BLOCK,
    CURRENT,
    STATE_SCHEMA,
    TILE,
    WORD,
    Bools,
    Ints,
    Words,
    packed,
)
from headrace.engine.tiles import Keys, merged, stored_tiles
from headrace.plan.model import Plan

FINDING_SCHEMA = pa.schema(
    [
        ("side", pa.string()),
        ("segment", pa.string()),
        ("user_id", pa.string()),
        ("count", pa.int64()),
    ]
)
"""``batch``: so many are in the segment by the facts; ``only stream`` and ``only batch``: one
membership that the other does not have; ``state``: a user whose state is not as the facts make it.
"""


def audited(state: pa.Table, facts: pa.Table, *, plan: Plan, now: int) -> pa.Table:
    """What differs (FINDING_SCHEMA) between state rows and all facts of the same whole users.

    ``facts`` (FACTS_SCHEMA) may hold repeats and forgotten ones. Where users stand in stays is
    taken from their states: that hangs on when batches ran. Who still waits for the turn that is
    due to him is not looked at.
    """
    code = compiled(plan)
    stood = _standing(state)
    overdue = stood["user_id"].filter(pc.less_equal(stood["next_due"], now).fill_null(False))
    told = told_anew(stood, facts, plan=plan, now=now)
    stood, told = (
        of.filter(pc.invert(pc.is_in(of["user_id"], value_set=overdue))) for of in (stood, told)
    )
    pair = _Pair.of(code, stood, told)
    return pa.concat_tables([pair.sizes(), *pair.memberships(), pair.states(now)])


def told_anew(stood: pa.Table, facts: pa.Table, *, plan: Plan, now: int) -> pa.Table:
    """The states (STATE_SCHEMA) that ``facts`` come to; of ``stood`` only the stays count."""
    facts = fact_rows(facts)
    forgotten = pc.equal(facts["type"], FORGOTTEN)
    alive = pc.unique(facts["user_id"].filter(pc.invert(forgotten)))
    facts = facts.filter(pc.is_in(facts["user_id"], value_set=alive))
    held = stood.slice(0, 0)
    if plan.stays:
        size = len(stood)
        columns = {
            "user_id": stood["user_id"],
            "n": pa.array(np.zeros(size), pa.int64()),
            "at": pa.array(np.zeros(size), pa.int64()),
            "layout": pa.array(np.full(size, CURRENT), pa.int32()),
            "stays": stood["stays"],
        }
        fields = [columns.get(field.name, pa.nulls(size, field.type)) for field in STATE_SCHEMA]
        held = pa.table(fields, schema=STATE_SCHEMA)
    return advance(held, facts, plan=plan, now=now, n=0, full=True, silent=True)


def _standing(state: pa.Table) -> pa.Table:
    """The newest row of each user who is neither gone nor merged away."""
    state = state_rows(state)
    users = users_of(state, state.slice(0, 0), now=0, everyone=True)
    return state.take(pa.array(users.row[users.known]))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both states of the same users, numbered alike; each side lacks some."""

    code: Compiled
    names: pa.Array
    stood: pa.Table
    told: pa.Table
    owners: tuple[Ints, Ints]

    @staticmethod
    def of(code: Compiled, stood: pa.Table, told: pa.Table) -> _Pair:
        chunks = [*stood["user_id"].chunks, *told["user_id"].chunks]
        names = pc.unique(pa.chunked_array(chunks, pa.string()))
        sides, owners = [], []
        for rows in (stood, told):
            place = pc.index_in(rows["user_id"], value_set=names).to_numpy().astype(np.int64)
            order = np.argsort(place)  # what is stored of users must lie in their order
            sides.append(rows.take(pa.array(order)))
            owners.append(place[order])
        return _Pair(code, names, sides[0], sides[1], (owners[0], owners[1]))

    def sizes(self) -> pa.Table:
        """How many members each segment has by the facts."""
        _, versions = self._members(self.told, self.owners[1]).pairs()
        counts = np.bincount(versions, minlength=self._last + 1)
        programs = [p for p in self.code.plan.programs if counts[p.version_id]]
        return _findings(
            "batch",
            segments=[program.segment for program in programs],
            counts=[int(counts[program.version_id]) for program in programs],
        )

    def memberships(self) -> list[pa.Table]:
        """The memberships that only one side has."""
        stream, batch = self._both_members()
        unlike = np.unique(stream.unlike(batch))
        held, wanted = (self._keys(members, unlike) for members in (stream, batch))
        names = {program.version_id: program.segment for program in self.code.plan.programs}
        found = []
        for side, own, other in (
            ("only stream", held, wanted),
            ("only batch", wanted, held),
        ):
            users, versions = np.divmod(np.setdiff1d(own, other), self._last + 1)
            found.append(
                _findings(
                    side,
                    segments=[names[version] for version in versions.tolist()],
                    users=self.names.take(pa.array(users)).to_pylist(),
                )
            )
        return found

    def states(self, now: int) -> pa.Table:
        """The users whose states say different things, of memberships or of anything else."""
        stream, batch = self._both_members()
        differs = np.zeros(len(self.names), np.bool_)
        differs[stream.unlike(batch)] = True
        differs |= np.bincount(np.concatenate(self.owners), minlength=len(differs)) == 1
        differs |= self._tiles_differ(now)
        for stood, told in (
            (self._column("traits", 0), self._column("traits", 1)),
            (self._column("pending", 0), self._column("pending", 1)),
            (self._stood_logs(now), self._column("logs", 1)),
        ):
            differs |= stood != told
        # A turn too early is in vain; one too late leaves somebody in.
        due = [np.full(len(differs), NEVER, np.int64) for _ in self.owners]
        for out, owners, rows in zip(due, self.owners, (self.stood, self.told), strict=True):
            out[owners] = ints(rows["next_due"], NEVER)
        differs |= due[0] > due[1]
        users = self.names.take(pa.array(np.flatnonzero(differs))).to_pylist()
        return _findings("state", users=users)

    @property
    def _last(self) -> int:
        return max((program.version_id for program in self.code.plan.programs), default=0)

    def _both_members(self) -> tuple[Members, Members]:
        return (
            self._members(self.stood, self.owners[0]),
            self._members(self.told, self.owners[1]),
        )

    def _members(self, rows: pa.Table, owners: Ints) -> Members:
        """The bits of the plan's versions; older ones may stand beside them."""
        known = np.zeros((self._last // BLOCK + 2,), np.uint64)
        for program in self.code.plan.programs:
            block, bit = divmod(program.version_id, BLOCK)
            known[block] |= np.uint64(1 << bit)
        words, sizes = packed(rows["members"], WORD)
        blocks = np.minimum(words >> np.uint64(BLOCK), np.uint64(len(known) - 1)).astype(np.int64)
        words = words & (known[blocks] | ~BITS)
        some = (words & BITS) != 0
        return Members(np.repeat(owners, sizes)[some], words[some])

    def _keys(self, members: Members, users: Ints) -> Ints:
        owners, versions = members.pairs()
        of = np.isin(owners, users)
        keys: Ints = owners[of] * (self._last + 1) + versions[of]
        return keys

    def _tiles_differ(self, now: int) -> Bools:
        form = Keys(self.code, len(self.names))
        nothing = np.empty(0, np.uint64), np.empty(0, np.int64)
        sides = []
        for rows, owners in zip((self.stood, self.told), self.owners, strict=True):
            records, sizes = packed(rows["tiles"], TILE)
            tiles = stored_tiles(form, np.repeat(owners, sizes), records)
            sides.append(merged(form, tiles, nothing).records(now))
        (stood, held), (told, wanted) = sides
        differs: Bools = held != wanted
        stood, told = stood[np.repeat(~differs, held)], told[np.repeat(~differs, wanted)]
        of = np.repeat(np.flatnonzero(~differs), held[~differs])
        differs[of[stood != told]] = True
        return differs

    def _column(self, name: str, side: int) -> Words:
        rows = (self.stood, self.told)[side]
        texts = np.full(len(self.names), None, object)
        texts[self.owners[side]] = rows[name].to_pylist()
        return texts

    def _stood_logs(self, now: int) -> Words:
        stored = stored_logs(self.code, self.owners[0], self.stood["logs"])
        logs = Logs.of(self.code, {}, [log for _, log in stored])
        return np.array([*logs.texts(len(self.names), now), ""], object)[:-1]


def _findings(
    side: str,
    *,
    segments: list[str] | None = None,
    users: list[str] | None = None,
    counts: list[int] | None = None,
) -> pa.Table:
    size = len(segments if segments is not None else users or ())
    columns = (pa.array([side] * size, pa.string()), segments, users, counts)
    return pa.table(
        [
            pa.nulls(size, field.type) if of is None else pa.array(of, field.type)
            for field, of in zip(FINDING_SCHEMA, columns, strict=True)
        ],
        schema=FINDING_SCHEMA,
    )
