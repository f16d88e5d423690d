"""A stream without servers whose users are joined and forgotten, and whose plans change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from headrace.clock import DAY, HOUR
from headrace.engine.compact import compact
from headrace.engine.evaluate import without_repeats
from headrace.engine.families import ANEW, FAMILY_SCHEMA, Regrouping, regroup, told_again
from headrace.engine.history import stage
from headrace.engine.identity import FORGOTTEN, Identities, Link, apply_identities, links_of
from headrace.engine.regroup import step
from headrace.engine.standing import Begun
from headrace.engine.state import CURRENT, FACTS_SCHEMA, GONE, STATE_SCHEMA
from headrace.plan.diff import bridge, diff
from headrace.plan.model import Plan
from strategies import AT, Case
from streams import Stream, dense


@dataclass(frozen=True)
class Coming:
    """A plan to come: folded since batch ``since``, its history up to ``until`` as it was then."""

    plan: Plan
    since: int
    until: int
    history: pa.Table | None


class Town(Stream):
    """A stream that keeps its families and its history, as the job does in its tables."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.families: dict[str, dict[str, Any]] = {}
        self.arrived: pa.Table | None = None
        self.changes: list[Regrouping] = []
        self.coming: Coming | None = None
        self.links: list[Link] = []

    def prepare(self, plan: Plan) -> None:
        """Run ``plan`` once its history is built; instead of one that was prepared before."""
        self.coming = Coming(plan, self.n + 1, self.now, self.arrived)

    def give_up(self) -> None:
        """Prepare no more: the plan that runs runs on."""
        self.coming = None

    def live(
        self,
        events: pa.Table,
        now: int,
        *,
        handover: bool = False,
        corrected: Sequence[str] = (),
    ) -> pa.Table:
        """One batch of accepted EVENTS, in which the plan prepared takes over, or states of some
        users are told anew."""
        self.n, self.now = self.n + 1, now
        events = events.append_column("at", pa.array(np.full(len(events), now), pa.int64()))
        earlier = events.slice(0, 0) if self.arrived is None else self.arrived
        self.links += links_of(events)
        change = told_again(())
        # States and the history being prepared for them stay under the same ids meanwhile.
        if self.coming is None:
            change = self._regroup(self.links, now)
            self.links = []
            if corrected and not len(change.moves):
                change = replace(told_again(corrected), retold=self._all_ids(corrected))
        retold = earlier.filter(pc.is_in(earlier["user_id"], pa.array(change.retold, pa.string())))
        retold = without_repeats(retold)
        facts = apply_identities(events, self._identities())
        again = apply_identities(retold, self._identities())
        place = again.schema.get_field_index("sent_id")
        again = again.set_column(place, "sent_id", pa.nulls(len(again), pa.string()))
        facts = pa.concat_tables([facts, again.filter(pc.not_equal(again["type"], FORGOTTEN))])
        self.arrived = pa.concat_tables([earlier, events])
        if handover:
            state = pa.concat_tables([self.rows, self._staged()])
        else:
            state = self._concerned(facts, change, now)
        for name in ("origin", "role", "cause", "into"):
            if name not in state.column_names:
                state = state.append_column(name, pa.nulls(len(state), pa.string()))
        out = self._stepped(state, facts, now, handover=handover)
        self.rows = pa.concat_tables([self.rows, out])
        self._listen(out)
        self.changes.append(change)
        return out

    def _stepped(self, state: pa.Table, facts: pa.Table, now: int, *, handover: bool) -> pa.Table:
        if self.coming is None:
            return step(state, facts, plan=self.plan, now=now, n=self.n)
        plan, change = self.coming.plan, diff(self.plan, self.coming.plan)
        slots = frozenset(change.added_slots)
        begun = Begun(slots, self.coming.since) if slots else None
        if not handover:
            both = bridge(self.plan, plan)
            return step(state, facts, plan=both, now=now, n=self.n, begun=begun)
        self.plan, self.coming = plan, None
        return step(state, facts, plan=plan, now=now, n=self.n, diff=change, begun=begun)

    def _staged(self) -> pa.Table:
        """The history of the slots that the plan to come adds."""
        assert self.coming is not None
        coming, slots = self.coming, frozenset(diff(self.plan, self.coming.plan).added_slots)
        if coming.history is None or not slots:
            return self.rows.slice(0, 0)
        facts = apply_identities(coming.history, self._identities()).cast(FACTS_SCHEMA)
        return stage(facts, plan=coming.plan, slots=slots, now=coming.until, n=coming.since)

    def _concerned(self, facts: pa.Table, change: Regrouping, now: int) -> pa.Table:
        """As the job reads them: only rows of users whom the batch concerns."""
        elsewhere = [move["user_id"] for move in change.moves.to_pylist() if move["role"] in ANEW]
        due = self.rows.filter(pc.less_equal(self.rows["next_due"], now))["user_id"].to_pylist()
        targets = change.moves["user_id"].to_pylist()
        concerned = {*facts["user_id"].to_pylist(), *due, *targets} - set(elsewhere)
        own = self.rows.filter(pc.is_in(self.rows["user_id"], pa.array(concerned, pa.string())))
        return pa.concat_tables([own, self._moved(change)], promote_options="default")

    def _all_ids(self, users: Sequence[str]) -> tuple[str, ...]:
        """``users`` and the ids joined to them."""
        joined = {r["user_id"] for r in self.families.values() if r["canonical"] in users}
        return tuple(sorted({*users, *joined}))

    def _regroup(self, links: list[Any], now: int) -> Regrouping:
        named = {user for link in links for user in link[2:] if user}
        names = {
            row["family"]
            for row in self.families.values()
            if row["user_id"] in named or (row["due"] is not None and row["due"] <= now)
        }
        rows = [row for row in self.families.values() if row["family"] in names]
        change = regroup(pa.Table.from_pylist(rows, FAMILY_SCHEMA), links, now=now)
        self.families |= {row["user_id"]: row for row in change.rows.to_pylist()}
        return change

    def _identities(self) -> Identities:
        rows = self.families.values()
        return Identities(
            {r["user_id"]: r["canonical"] for r in rows if r["canonical"] != r["user_id"]},
            {r["user_id"]: r["forgotten"] for r in rows if r["forgotten"] is not None},
        )

    def _moved(self, change: Regrouping) -> pa.Table:
        by_user: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows.to_pylist():
            by_user.setdefault(row["user_id"], []).append(row)
        moved = []
        for move in change.moves.to_pylist():
            for row in by_user.get(move["origin"], ()):
                moved.append({**row, **move})
            if move["role"] in ANEW:
                moved.append({"n": -1, "layout": GONE, **move})
        fields = [
            *STATE_SCHEMA,
            *(pa.field(n, pa.string()) for n in ("origin", "role", "cause", "into")),
        ]
        return pa.Table.from_pylist(moved, pa.schema(fields))

    def known(self) -> set[str]:
        rows = compact(self.rows, now=0, horizon_ms=0).to_pylist()
        return {row["user_id"] for row in rows if row["layout"] == CURRENT}


USERS = ["u1", "u2", "u3", "v1", "v2"]


def linked(random: Random) -> Case:
    """A dense case whose users are joined and forgotten."""
    case = dense(random)
    lines = list(case.lines)
    for _ in range(random.randint(1, 6)):
        ts = (
            AT - random.randrange(35 * DAY)
            if random.random() < 0.8
            else AT - random.randrange(HOUR)
        )
        if random.random() < 0.65:
            line = {"type": "alias", "from": random.choice(USERS), "to": random.choice(USERS)}
        else:
            line = {"type": "delete", "user_id": random.choice(USERS)}
        lines.append(orjson.dumps({**line, "ts": ts}))
    lines += random.sample(lines, min(len(lines), 12))
    return Case(case.segments, tuple(lines), AT)
