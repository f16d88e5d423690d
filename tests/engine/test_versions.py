"""The bits of versions: each number's own, whatever came before it or comes back."""

from __future__ import annotations

import orjson
import pyarrow as pa

from headrace.clock import DAY
from headrace.engine.advance import advance
from headrace.engine.state import FACTS_SCHEMA, empty_state, unpack_members
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.diff import diff
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import Catalog, Field
from headrace.rules.model import Compare, Condition, Not, Segment, Trait

NOW = 1_790_000_000_000 // DAY * DAY
CATALOG = Catalog(traits={"country": Field("string")})
GERMAN = Compare(Trait("country"), "eq", "DE")
COUNTRIES = {"ann": "DE", "bob": "FR"}


def arrivals() -> pa.Table:
    rows = [
        {
            "user_id": user, "sent_id": user, "event_id": None, "type": "traits", "ts": NOW,
            "properties": orjson.dumps({"country": country}).decode(),
            "partition": 0, "offset": offset, "at": NOW,
        }
        for offset, (user, country) in enumerate(COUNTRIES.items())
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=FACTS_SCHEMA)


def told(state: pa.Table) -> dict[str, tuple[int, str]]:
    """What each user's message says of the segment."""
    changes = {
        row["user_id"]: orjson.loads(row["changes"])["changes"]
        for row in state.to_pylist()
        if row["changes"]
    }
    return {
        user: (one["version"], one["change"])
        for user, found in changes.items()
        for one in found
        if one["segment"] == "local"
    }


def test_a_rollback_meets_no_bit_of_the_number_it_goes_back_to() -> None:
    registry = MemoryRegistry()

    def plan(condition: Condition | None, version: int = 0) -> Plan:
        kept = [SegmentVersion(Segment(id="all", condition=Not(GERMAN)), 1)]
        if condition is not None:
            kept.append(SegmentVersion(Segment(id="local", condition=condition), version))
        return build_plan(kept, CATALOG, registry, JobParameters())

    steps = [
        (plan(GERMAN, 1), {"ann": (1, "enter")}),
        (plan(Not(GERMAN), 2), {"ann": (2, "exit"), "bob": (2, "enter")}),
        (plan(GERMAN, 3), {"ann": (3, "enter"), "bob": (3, "exit")}),
        (plan(None), {"ann": (3, "exit")}),
        (plan(GERMAN, 4), {"ann": (4, "enter")}),
    ]
    state, before = empty_state(), None
    for n, (wanted, expected) in enumerate(steps):
        out = advance(
            state, arrivals() if n == 0 else arrivals().slice(0, 0), plan=wanted, now=NOW + n, n=n,
            diff=diff(before, wanted),
        )  # fmt: skip
        assert told(out) == expected, n
        state, before = pa.concat_tables([state, out]), wanted
        of_plan = {program.version_id for program in wanted.programs}
        newest = {row["user_id"]: row for row in state.to_pylist()}
        for row in newest.values():
            assert set(unpack_members(row["members"])) <= of_plan, (n, row["user_id"])
    numbers = registry.ids("version", [f"local@{version}" for version in (1, 2, 3, 4)])
    assert len(set(numbers)) == 4
