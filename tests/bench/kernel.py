"""How fast the kernel is: `python tests/bench/kernel.py [K ...]`.

Events per CPU second through `advance` and through the door, users x rules per CPU second of a
full evaluation. CPU time, because the machine is seldom ours alone.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent.parent))

from headrace.clock import DAY, HOUR
from headrace.engine.advance import advance
from headrace.engine.door import admit
from headrace.engine.state import empty_state
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import Catalog, EventType, Field
from headrace.rules.model import AllOf, Compare, Measure, Segment, Within, default_hop
from streams import raw

USERS = 20_000
BATCH = 30_000
NOW = 1_790_000_000_000
TYPES = tuple(f"type_{i}" for i in range(8))
CATALOG = Catalog(
    events={
        name: EventType({"amount": Field("decimal"), "page": Field("string")}) for name in TYPES
    }
)


def history(random: np.random.Generator, size: int, start: int, end: int, first: int) -> pa.Table:
    """Facts as the stream hands them over: Zipf users, log-normal amounts."""
    weights = 1 / np.arange(1, USERS + 1) ** 0.6
    who = random.choice(USERS, size, p=weights / weights.sum())
    users = np.array([f"user-{i:06d}" for i in range(USERS)])[who]
    amounts = np.round(random.lognormal(3, 1, size), 2)
    texts = [f'{{"amount":{a!r},"page":"/p/{i % 50}"}}' for i, a in enumerate(amounts.tolist())]
    return pa.table(
        {
            "user_id": users,
            "sent_id": users,
            "event_id": [f"{first + i:032x}" for i in range(size)],
            "type": np.array(TYPES)[random.integers(0, 8, size)],
            "ts": np.sort(random.integers(start, end, size)),
            "properties": texts,
            "partition": pa.array(np.zeros(size), pa.int32()),
            "offset": pa.array(np.arange(size), pa.int64()),
            "at": pa.array(np.full(size, end), pa.int64()),
        }
    )


def rules(count: int, tail: float, random: np.random.Generator) -> list[SegmentVersion]:
    """Two conjuncts each, met by about ``tail`` of the users of a type and window."""
    per_month = 10 / 8
    found = []
    for number in range(count):
        parts = []
        for _ in range(2):
            length = int(random.choice([1, 7, 30])) * DAY
            rate = per_month * length / (30 * DAY)
            share = tail * random.uniform(0.5, 1.5)
            # Poisson-like counts, thinned by Zipf: thresholds a little apart for each rule.
            least = max(1, round(rate + 3 * rate**0.5 * float(-np.log10(share))))
            name = TYPES[random.integers(8)]
            window = Within(length, default_hop(length))
            if random.random() < 0.5:
                parts.append(
                    Compare(Measure("count", name, None, None, window), "gte", Decimal(least))
                )
            else:
                spent = Decimal(str(round(least * 33 * random.uniform(0.9, 1.1), 2)))
                parts.append(Compare(Measure("sum", name, "amount", None, window), "gt", spent))
        found.append(SegmentVersion(Segment(id=f"rule_{number}", condition=AllOf(tuple(parts))), 1))
    return found


def plan_for(count: int, tail: float) -> Plan:
    versions = rules(count, tail, np.random.default_rng(7))
    return build_plan(versions, CATALOG, MemoryRegistry(), JobParameters())


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def transitions(rows: pa.Table) -> int:
    texts = rows["changes"].to_pylist()
    return sum(len(orjson.loads(text)["changes"]) for text in texts if text)


def calibrated(count: int, past: pa.Table, batch: pa.Table) -> Plan:
    """The plan whose rules turn over about 0.25 memberships an event."""
    low, high = 1e-12, 0.9
    for _ in range(16):
        tail = (low * high) ** 0.5
        plan = plan_for(count, tail)
        state = advance(empty_state(), past, plan=plan, now=NOW, n=1)
        rate = transitions(advance(state, batch, plan=plan, now=NOW + 2_000, n=2)) / BATCH
        if 0.2 <= rate <= 0.3:
            break
        low, high = (tail, high) if rate < 0.25 else (low, tail)
    return plan


def measure(count: int, past: pa.Table, batches: list[pa.Table], *, profiled: bool) -> None:
    """Print one line of figures for ``count`` rules."""
    plan = calibrated(count, past, batches[0])
    run = partial(advance, plan=plan)
    rows = run(empty_state(), past, now=NOW, n=1)
    size = sum(len(tiles) for tiles in rows["tiles"].to_pylist()) / len(rows)
    users = len(rows)
    everything, _ = seconds(partial(run, empty_state(), past, now=NOW, n=1, full=True))
    spent, turned, now = 0.0, 0, NOW
    for n, batch in enumerate(batches, 2):
        now = NOW + n * 2_000
        took, out = seconds(partial(run, rows, batch, now=now, n=n))
        rows, spent, turned = pa.concat_tables([rows, out]), spent + took, turned + transitions(out)
    events = sum(map(len, batches))
    later, due = seconds(partial(run, rows, past.slice(0, 0), now=now + HOUR, n=99))
    print(
        f"K={count:>6}: {events / spent:>9,.0f} events/s, {turned / events:.2f} transitions/event; "
        f"files {len(past) / everything:>9,.0f} events/s, "
        f"{users * count / everything:>13,.0f} users x rules/s; {len(due):,} due in {later:.2f} s; "
        f"{size:.0f} B of tiles a user; {len(plan.slots)} slots, {len(plan.measures)} measures, "
        f"{len(plan.predicates)} predicates"
    )
    if profiled:
        fresh = history(np.random.default_rng(9), BATCH, NOW - 30 * DAY, now, 77 << 32)
        profile = cProfile.Profile()
        profile.runcall(run, rows, fresh, now=now + 2_000, n=99)
        pstats.Stats(profile).sort_stats("tottime").print_stats(28)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("rules", type=int, nargs="*", default=[1, 100, 1_000, 10_000])
    arguments.add_argument("--profile", action="store_true")
    options = arguments.parse_args()
    random = np.random.default_rng(1)
    past = history(random, 10 * USERS, NOW - 30 * DAY, NOW, 0)
    batches = [
        history(random, BATCH, NOW - 30 * DAY, NOW + i * 2_000, i + 1 << 32) for i in range(5)
    ]
    door(past)
    for count in options.rules:
        measure(count, past, batches, profiled=options.profile)


def door(past: pa.Table) -> None:
    """Judge the same facts as messages."""
    lines = [
        orjson.dumps(
            {"event_id": e, "user_id": u, "type": t, "ts": ts, "properties": orjson.loads(p)}
        )
        for e, u, t, ts, p in zip(
            *(past[c].to_pylist() for c in ("event_id", "user_id", "type", "ts", "properties")),
            strict=True,
        )
    ]
    # Spark hands over ten thousand rows at a time.
    tables = [raw(lines[i : i + 10_000]) for i in range(0, len(lines), 10_000)]

    def judged() -> None:
        for table in tables:
            admit(table, catalog=CATALOG, now=NOW, retention_ms=None)

    judged()  # the process has its memory now
    took, _ = seconds(judged)
    size = sum(map(len, lines)) / len(lines)
    print(f"door: {len(lines) / took:,.0f} events/s of {size:.0f} bytes")


if __name__ == "__main__":
    main()
