"""How fast rules are evaluated for everyone: `python tests/bench/evaluation.py [K ...]`.

200,000 users with ten events each, their tiles in memory; window sums, predicates and rules
for all of them, in groups as the jobs cut them. One thread. Thresholds come from a small pool, as
analysts choose round numbers, or are all distinct. Best of five, CPU time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from kernel import CATALOG, NOW, TYPES, USERS, history
from report import table

from circumstances import circumstances
from headrace.clock import DAY
from headrace.engine.bits import rules_of
from headrace.engine.fold import folded
from headrace.engine.group import facts_of, users_of
from headrace.engine.logs import Logs
from headrace.engine.measures import measured
from headrace.engine.program import Compiled, compiled
from headrace.engine.rules import Group
from headrace.engine.state import Ints, empty_state
from headrace.engine.tiles import Keys, Tiles, merged
from headrace.engine.traits import TraitView
from headrace.engine.windows import Windows
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.model import AllOf, Compare, Measure, Segment, Within, default_hop

GROUPS = 10
POOL = 8
"""Thresholds a measure has in the pool."""
RUNS = 5


def rules(count: int, pool: int | None) -> list[Segment]:
    """Two conjuncts each from {count, sum} x 8 types x {1, 7, 30 days}."""
    random = np.random.default_rng(count)
    segments = []
    for number in range(count):
        parts = []
        for _ in range(2):
            days = int(random.choice([1, 7, 30]))
            window = Within(days * DAY, default_hop(days * DAY))
            function, field = [("count", None), ("sum", "amount")][int(random.integers(2))]
            step = int(random.integers(pool)) + 1 if pool else number + 1
            least = (
                Decimal(step) if function == "count" else Decimal(step * 25) / (1 if pool else 9)
            )
            event = TYPES[int(random.integers(8))]
            measure = Measure(function, event, field, None, window)  # type: ignore[arg-type]
            parts.append(Compare(measure, "gte", least))
        segments.append(Segment(id=f"rule_{number}", condition=AllOf(tuple(parts))))
    return segments


@dataclass(frozen=True)
class Crowd:
    """One group: who they are, and their tiles."""

    names: pa.Array
    tiles: Tiles
    size: int


def crowd(code: Compiled, facts: pa.Table) -> Crowd:
    """The tiles that ``facts`` come to."""
    users = users_of(empty_state(), facts, now=NOW, everyone=False)
    form = Keys(code, len(users))
    found = folded(form, facts_of(facts, users.owner_of_event, code.type_number), NOW)
    nothing = np.empty(0, np.uint64), np.empty(0, np.int64)
    return Crowd(users.names, merged(form, nothing, (found.keys, found.values)), len(users))


def evaluated(code: Compiled, of: Crowd, every: Ints) -> int:
    """How many memberships all rules come to in one group."""
    tiles = Tiles(of.tiles.form, of.tiles.keys, of.tiles.values, of.tiles.before)  # nothing cached
    now = np.full(of.size, NOW)
    values = measured(Windows(tiles, Logs(code, {}, {}), NOW, now))
    group = Group(code, of.names, values.table, lambda: TraitView(code, [], NOW))
    bits = rules_of(code, group, slice(0, of.size), every)
    return sum(int(np.bitwise_count(some).sum()) for _, some in bits)


def best(code: Compiled, crowds: Sequence[Crowd]) -> tuple[float, int]:
    """CPU seconds of the fastest run, and the memberships found."""
    every = np.arange(len(code.version_ids))
    spent = []
    for _ in range(RUNS):
        start = time.process_time()
        members = sum(evaluated(code, of, every) for of in crowds)
        spent.append(time.process_time() - start)
    return min(spent), members


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("rules", type=int, nargs="*", default=[1, 100, 1_000, 10_000])
    arguments.add_argument("--write", type=Path, metavar="FILE", help="A table in Markdown, too.")
    options = arguments.parse_args()
    random = np.random.default_rng(1)
    facts = [history(random, 10 * USERS, NOW - 30 * DAY, NOW, i << 32) for i in range(GROUPS)]
    rows = []
    for name, pool in (("pooled", POOL), ("distinct", None)):
        for count in options.rules:
            row = (name, *figures(rules(count, pool), facts))
            print("  ".join(f"{cell:>16}" for cell in row))
            rows.append(row)
    if options.write:
        options.write.write_text(page(rows), encoding="utf-8")


HEAD = (
    "thresholds", "rules", "predicates", "s of CPU", "users x rules/s", "memberships",
    "s to plan and arrays",
)  # fmt: skip


def figures(segments: Sequence[Segment], facts: Sequence[pa.Table]) -> tuple[str, ...]:
    """One row for ``segments``, from the second column on."""
    start = time.process_time()
    plan = compile_plan(segments)
    code = compiled(plan)
    building = time.process_time() - start
    crowds = [crowd(code, one) for one in facts]
    users = sum(of.size for of in crowds)
    took, members = best(code, crowds)
    rate = users * len(segments) / took
    return (
        f"{len(segments):,}", f"{len(plan.predicates):,}", f"{took:.3f}", f"{rate:,.0f}",
        f"{members:,}", f"{building:.2f}",
    )  # fmt: skip


def page(rows: Sequence[Sequence[str]]) -> str:
    """The figures for people, with the machine and the day."""
    lines = [
        "# Rules for everyone, on one core",
        "",
        "Written by `make bench-kernel`; do not edit.",
        "",
        f"- {circumstances()}",
        f"- **Work**: {(__doc__ or '').split(chr(10), 2)[2].strip()}",
        "",
        *table(HEAD, rows),
        "",
    ]
    return "\n".join(lines)


def compile_plan(segments: Sequence[Segment]) -> Plan:
    versions = [SegmentVersion(segment, 1) for segment in segments]
    return build_plan(versions, CATALOG, MemoryRegistry(), JobParameters())


if __name__ == "__main__":
    main()
