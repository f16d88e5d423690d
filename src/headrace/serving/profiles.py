"""What is known of a person, from the tables: more than Redis has, in some more time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson
import pyarrow as pa

from headrace.clock import Instant
from headrace.engine.profile import measures_of
from headrace.engine.state import CURRENT
from headrace.errors import OperatorError
from headrace.lake.tables import LakeDown, Tables
from headrace.lake.timeline import Kind, Part, Place, Question, part_of
from headrace.lake.users import deletions_of, ids_of, state_of
from headrace.plan.model import Plan
from headrace.rules.catalog import LIST
from headrace.serving.ports import Profile, TraitValue
from headrace.serving.reading import Readers
from headrace.store import Execution, StoredPlan


class StoredProfiles:
    """Reads the tables, by the plan that Postgres says the stream executes."""

    def __init__(
        self,
        tables: Tables,
        readers: Readers,
        running: Callable[[], Execution | None],
        plan: Callable[[str], StoredPlan | None],
        secret: Callable[[], str],
    ) -> None:
        """``running`` tells which plan is executed, ``plan`` the one of a hash, ``secret`` the key
        of tombstones."""
        self._tables = tables
        self._readers = readers
        self._running = running
        self._plan = plan
        self._secret = secret
        self._known: Plan | None = None

    async def profile(self, user: str, at: Instant) -> Profile | None:
        """The profile of a canonical id, its measures at ``at``; None for nobody.

        LakeDown while the tables cannot be read; OperatorError as long as Postgres never said what
        runs.
        """
        return await self._readers(partial(self._profile, user, at))

    def _profile(self, user: str, at: Instant) -> Profile | None:
        plan = self._current()
        rows = state_of(self._tables, user, plan.job.buckets)
        newest = _newest(rows)
        if newest is None:
            return None
        known = orjson.loads(newest["traits"]) if newest["traits"] else {}
        computed = dict(plan.computed)
        values = {
            name: held
            for name, held in known.items()
            if held["v"] is not None and name not in computed  # whatever somebody said of it
        }
        # Redis may be behind the tables: at its instant the newest state was not yet so.
        at = max(at, newest["at"])
        measures = measures_of(rows, plan=plan, at=at).get(user, {})
        return Profile(
            traits={
                name: TraitValue(held["v"], held["ts"])
                for name, held in sorted(values.items())
                if not name.startswith(LIST)
            },
            lists={
                name.removeprefix(LIST): held["ts"]
                for name, held in sorted(values.items())
                if name.startswith(LIST) and held["v"] is True
            },
            measures=measures,
            computed={
                name: measures[plan.measures[place].name] for name, place in computed.items()
            },
            identities=tuple(sorted(ids_of(self._tables, user))),
            measured_at=at,
            first_seen=newest["first_seen"],
            updated_at=newest["at"],
        )

    async def timeline(
        self,
        user: str,
        *,
        before: Place | None,
        limit: int,
        kinds: Sequence[Kind],
        types: Sequence[str],
    ) -> Part:
        """What happened to a canonical id. LakeDown while the tables cannot be read."""

        def ask() -> Part:
            ids = ids_of(self._tables, user)
            asked = Question(
                canonical=user,
                deletions=deletions_of(self._tables, ids, self._secret()),
                limit=limit,
                kinds=kinds,
                types=types,
            )
            return part_of(self._tables, asked, before=before)

        return await self._readers(ask)

    def _current(self) -> Plan:
        try:
            running = self._running()
        except OperatorError:
            if self._known is None:
                raise
            return self._known
        if running is None:
            raise LakeDown("profiles", "no batch has run yet")
        if self._known is None or self._known.hash != running.plan_hash:
            stored = self._plan(running.plan_hash)
            assert stored is not None, "what is executed is kept"
            self._known = Plan.from_json(stored.text)
        return self._known


def _newest(rows: pa.Table) -> dict[str, Any] | None:
    """The row that says where the user stands, if anybody is known by the id."""
    told: list[dict[str, Any]] = [row for row in rows.to_pylist() if row["layout"] >= CURRENT]
    newest = max(told, key=lambda row: int(row["n"]), default=None)
    if newest is None or newest["layout"] != CURRENT or newest["first_seen"] is None:
        return None
    return newest
