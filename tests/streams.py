"""A stream without servers: facts cut into batches, state rows kept as a table keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as AnySequence
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import strategies as st

from headrace.clock import DAY, HOUR
from headrace.engine.advance import advance
from headrace.engine.compact import compact
from headrace.engine.door import admit
from headrace.engine.evaluate import without_repeats
from headrace.engine.identity import FORGOTTEN, apply_identities, links_of, resolve
from headrace.engine.standing import Begun
from headrace.engine.state import FACTS_SCHEMA, empty_state, members_of
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.diff import PlanDiff
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import LIST, Catalog
from headrace.rules.model import (
    COUNTING,
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Ever,
    InList,
    InSegment,
    Measure,
    Not,
    Period,
    Property,
    Sample,
    Segment,
    Sequence,
    Span,
    Step,
    Trait,
    Window,
    Within,
    default_hop,
)  # fmt: skip
from strategies import AT, PERIODS, ZONES, Case, cases, edges


def raw(lines: AnySequence[bytes | None]) -> pa.Table:
    size = len(lines)
    return pa.table(
        {
            "value": pa.array(lines, pa.binary()),
            "topic": pa.array(["events.v1"] * size, pa.string()),
            "partition": pa.array([0] * size, pa.int32()),
            "offset": pa.array(range(size), pa.int64()),
        }
    )


def facts_of(lines: AnySequence[bytes], catalog: Catalog, at: int) -> pa.Table:
    """What a file's lines come to under the identities at its end: FACTS_SCHEMA, no repeats."""
    events = admit(raw(lines), catalog=catalog, now=None, retention_ms=None)
    keep = [v == "accepted" and t <= at for v, t in _both(events, "verdict", "ts")]
    events = without_repeats(events.filter(pa.array(keep, pa.bool_())))
    events = events.append_column("at", pa.array(np.full(len(events), at), pa.int64()))
    facts = apply_identities(events, resolve(links_of(events), at=at))
    return facts.filter(pc.not_equal(facts["type"], FORGOTTEN))


def _both(table: pa.Table, *names: str) -> zip[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def plan_of(
    segments: AnySequence[Segment],
    catalog: Catalog,
    registry: MemoryRegistry | None = None,
    version: int = 1,
) -> Plan:
    return build_plan(
        [SegmentVersion(segment, version) for segment in segments],
        catalog,
        registry or MemoryRegistry(),
        JobParameters(horizon_ms=200 * 366 * DAY),  # files have none
    )


def dense(random: Random) -> Case:
    """Few users, many events, thresholds that they keep stepping over."""

    def leaf() -> Condition:
        kind = random.random()
        if kind < 0.08:
            return sequence()
        if kind < 0.12:
            return InList("vip")
        if kind < 0.2:
            return Sample(Decimal(random.choice((20, 50, 80))), random.choice(("", "spring")))
        if random.random() < 0.2:
            return random.choice(
                [
                    Compare(Trait("country"), random.choice(("eq", "ne")), "DE"),
                    Compare(Trait("age"), "gte", Decimal(random.randint(1, 3))),
                    Compare(Trait("signed_up"), "after", Ago(random.choice((DAY, 7 * DAY)))),
                ]
            )
        length = random.choice((0, 90_000, HOUR, DAY, 7 * DAY, 30 * DAY))
        hop = random.choice((default_hop(length), DAY))  # a day: many events in one tile
        window: Window = Within(length, hop) if length else Ever()
        if random.random() < 0.25:
            start = AT - random.randrange(30 * DAY)
            window = Span(start, random.choice((None, random.randint(start + 1, AT + HOUR))))
        if random.random() < 0.25:
            window = Period(random.choice(PERIODS), zone)
        where = None
        if random.random() < 0.3:
            where = Compare(Property("sku"), random.choice(("eq", "ne")), "a")
        functions = ("count", "count", "days_active", "sum", "sum", "avg", "min", "max")
        function = random.choice((*functions, "distinct", "first", "last"))
        field = None if function in COUNTING else random.choice(("amount", "items", "ships"))
        if function in ("first", "last") and random.random() < 0.4:
            measure = Measure(function, "purchase", "sku", where, window)
            return Compare(measure, random.choice(("eq", "ne", "gt")), "a")
        if field == "ships" and function != "distinct":
            function = random.choice(("min", "max", "first", "last"))
            long = Ago(random.choice((HOUR, DAY, 7 * DAY)))
            measure = Measure(function, "purchase", field, where, window)
            return Compare(measure, random.choice(("before", "after")), long)
        least = random.randint(1, 4)
        if function not in (*COUNTING, "distinct"):
            least = random.choice((-2, 0, 3, 9, 20))
        operator = random.choice(("gte", "gt", "lt", "eq", "ne"))
        of = zone if function == "days_active" else "UTC"
        measure = Measure(function, "purchase", field, where, window, of)
        return Compare(measure, operator, Decimal(least))

    def sequence() -> Sequence:
        def step(forbidden: bool, gap: int | None) -> Step:
            where = Compare(Property("sku"), "eq", random.choice("ab"))
            return Step("purchase", random.choice((None, where, where)), gap, forbidden)

        gaps = (None, HOUR, DAY, 7 * DAY)
        steps = [step(False, None)]
        for _ in range(random.randint(0, 2)):
            steps += [step(True, None)] if random.random() < 0.4 else []
            steps.append(step(False, random.choice(gaps)))
        if random.random() < 0.4:
            steps.append(step(True, random.choice(gaps[1:])))
        lengths = random.choice((HOUR, DAY, 30 * DAY))
        start = AT - random.randrange(30 * DAY)
        windows = Ever(), Within(lengths, default_hop(lengths)), Period("this_week", zone)
        return Sequence(tuple(steps), random.choice((*windows, Span(start, AT - HOUR))))

    zone = random.choice(ZONES)

    def tree(depth: int) -> Condition:
        kind = random.random()
        if depth == 0 or kind < 0.3:
            return leaf()
        parts = tuple(tree(depth - 1) for _ in range(random.randint(1, 3)))
        return AllOf(parts) if kind < 0.55 else AnyOf(parts) if kind < 0.8 else Not(parts[0])

    def rule(number: int) -> Segment:
        own = tree(2)
        if number and random.random() < 0.3:
            own = AllOf((own, Not(InSegment(f"s{random.randrange(number)}"))))
        return Segment(id=f"s{number}", condition=own, timezone=zone)

    rules = tuple(rule(number) for number in range(random.randint(1, 6)))
    near = [one for one in edges(rules, AT) if AT - 40 * DAY < one <= AT]
    lines = []
    for number in range(random.randint(5, 50)):
        ts = random.choice((random.choice(near), AT - random.randrange(35 * DAY)))
        user = f"u{random.randint(1, 3)}"
        if random.random() < 0.2:
            traits = {"country": random.choice(("DE", "FR", None)), "age": random.randint(0, 4)}
            traits["signed_up"] = ts - random.randrange(8 * DAY)
            traits[LIST + "vip"] = random.choice((True, None))
            name = random.choice(list(traits))
            line = {"type": "traits", "user_id": user, "ts": ts, "traits": {name: traits[name]}}
        else:
            properties = {
                "amount": random.choice((-5, 1, 2.5, 10, 0.0001)),
                "items": random.choice((-1, 1, 2, 5)),
                "sku": random.choice("ab"),
                "ships": ts + random.randrange(-5 * DAY, 5 * DAY),
            }
            some = {name: value for name, value in properties.items() if random.random() < 0.8}
            line = {"event_id": f"e{number}", "user_id": user, "type": "purchase", "ts": ts}
            line["properties"] = some
        lines.append(orjson.dumps(line))
    return Case(rules, tuple(lines), AT)


class Stream:
    """Feeds `advance` and keeps what it returns."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rows = empty_state()
        self.n, self.now = 0, -1
        self.history = FACTS_SCHEMA.empty_table()
        self.replayed: set[tuple[str, str]] = set()
        self.messages: list[dict[str, Any]] = []
        self.counted: Counter[str] = Counter()

    def batch(
        self,
        facts: pa.Table,
        now: int,
        *,
        plan: Plan | None = None,
        diff: PlanDiff | None = None,
        staged: pa.Table | None = None,
        begun: Begun | None = None,
        full: bool = False,
    ) -> pa.Table:
        self.n, self.now = self.n + 1, now
        self.plan = plan or self.plan
        place = facts.schema.get_field_index("at")
        facts = facts.set_column(place, "at", pa.array([now] * len(facts), pa.int64()))
        state = pa.concat_tables([self.rows, staged]) if staged is not None else self.rows
        out = advance(
            state, facts, plan=self.plan, now=now, n=self.n, diff=diff, begun=begun, full=full
        )
        # The stream looks only for rows that became due since it last did.
        assert all(due is None or due > now for due in out["next_due"].to_pylist())
        self.rows = pa.concat_tables([self.rows, out])
        self.history = pa.concat_tables([self.history, facts.cast(FACTS_SCHEMA)])
        self._listen(out)
        return out

    def compact(self, now: int) -> None:
        self.rows = compact(self.rows, now=now, horizon_ms=self.plan.job.horizon_ms)

    def _listen(self, out: pa.Table) -> None:
        self.counted["duplicates"] += sum(filter(None, out["duplicates"].to_pylist()))
        self.counted["folded"] += sum(filter(None, out["folded"].to_pylist()))
        for text in out["changes"].to_pylist():
            if text is None:
                continue
            message = orjson.loads(text)
            self.messages.append(message)
            for change in message["changes"]:
                pair = change["segment"], message["user"]
                entering = change["change"] == "enter"
                assert (pair in self.replayed) != entering, "a transition that is none"
                (self.replayed.add if entering else self.replayed.discard)(pair)

    def latest(self) -> pa.Table:
        return compact(self.rows, now=0, horizon_ms=0)

    def members(self) -> list[tuple[str, str]]:
        names = {p.version_id: p.segment for p in self.plan.programs}
        found = members_of(self.latest(), self.plan)
        return sorted((names[v], u) for u, v in _both(found, "user_id", "version_id"))

    def state(self) -> dict[str, tuple[Any, ...]]:
        """What must not depend on how facts were cut into batches."""
        names = ("traits", "tiles", "logs", "stays", "members", "pending", "next_due")
        return {row[0]: row[1:] for row in _both(self.latest(), "user_id", *names)}


def shuffled(facts: pa.Table, random: Random) -> pa.Table:
    order = list(range(len(facts)))
    random.shuffle(order)
    return facts.take(pa.array(order, pa.int64()))


def cut(facts: pa.Table, count: int, random: Random) -> list[pa.Table]:
    """``facts`` in random order in ``count`` batches, offsets ascending as a broker gives them."""
    facts = shuffled(facts, random)
    facts = facts.set_column(
        facts.schema.get_field_index("offset"), "offset", pa.array(range(len(facts)), pa.int64())
    )
    edges = sorted(random.randint(0, len(facts)) for _ in range(count - 1))
    starts = [0, *edges]
    ends = [*edges, len(facts)]
    return [facts.slice(a, b - a) for a, b in zip(starts, ends, strict=True)]


def touch(users: AnySequence[str], ts: int) -> pa.Table:
    """One event that no rule looks at for each user, so that every state is written anew."""
    rows = [
        {
            "user_id": user, "sent_id": user, "event_id": f"touch-{ts}", "type": "touched",
            "ts": ts, "properties": "{}", "partition": 0, "offset": 0, "at": ts,
        }
        for user in users
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=FACTS_SCHEMA)


def in_order(stream: Stream, facts: pa.Table, until: int) -> None:
    """A batch for each instant at which something happens or somebody is due, and at ``until``."""
    happens = sorted(set(facts["ts"].to_pylist()))
    silence = facts.slice(0, 0)
    now = stream.now
    while now < until:
        dues = [due for due in stream.latest()["next_due"].to_pylist() if due is not None]
        following = [ts for ts in (*happens, *dues, until) if now < ts <= until]
        now = min(following)
        arrived = facts.filter(pc.equal(facts["ts"], now)) if now in happens else silence
        stream.batch(arrived, now)


def randoms() -> st.SearchStrategy[Random]:
    return st.randoms(use_true_random=False, note_method_calls=False)


def instants(case: Case, count: int, random: Random) -> list[int]:
    """Growing nows near the edges of the rules. After the last of them only time passes."""
    near = [one for one in edges(case.segments, case.at) if one <= case.at]
    return sorted(random.choice(near) for _ in range(count))


def pass_time(stream: Stream, since: int, case: Case, random: Random) -> None:
    """Silent batches up to the case's instant, as long as somebody is due."""
    silence = stream.history.slice(0, 0)
    for now in [*sorted(random.randint(since, case.at) for _ in range(2)), case.at]:
        while stream.batch(silence, now).num_rows:
            pass


def denses() -> st.SearchStrategy[Case]:
    """Cases that keep changing their members, without joins and deletions."""
    return st.integers(0, 1 << 32).map(lambda seed: dense(Random(seed)))


def histories() -> st.SearchStrategy[Case]:
    """Odd cases, and dense ones."""
    return st.one_of(cases(), *[denses()] * 3)
