"""How fast everything stored is evaluated anew: `python tests/bench/recompute.py`.

Ten events a user over 30 days (Zipf 0.6, log-normal amounts) lie in Delta; 1,000 rules of two
conjuncts each, thresholds from a small pool, as analysts choose round numbers. Every step reads
Delta and, where it makes something, writes Delta. All steps ran over 100,000 users before, so the
session is warm; each step runs once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from evaluation import rules
from kernel import CATALOG, NOW, TYPES
from report import table
from tables import live_bytes

from circumstances import circumstances
from headrace.clock import DAY
from headrace.embedded.jars import spark_jars
from headrace.embedded.submit import JVM
from headrace.engine.parity import told_anew
from headrace.engine.state import empty_state
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.spark.evaluate import FACT_COLUMNS, FACTS_PER_GROUP, identified
from headrace.spark.fold import STATE, STATE_COLUMNS, STATE_INPUT, brought_together, write_profiles
from headrace.spark.header import Header
from headrace.spark.recompute import Audit, recomputed, reevaluated
from headrace.spark.session import Session, open_session
from headrace.spark.start import Newest
from headrace.spark.tables import Lake

RULES = 1_000
EACH = 10
CHUNK = 1_000_000
WARMING = 100_000  # users: the JVM's compiler is busy with the first million events


@dataclass(frozen=True)
class Step:
    """One measured step over ``users``."""

    name: str
    users: int
    seconds: float
    note: str

    @property
    def row(self) -> tuple[object, ...]:
        """A row of the table."""
        rate = self.users / self.seconds
        return (
            self.name,
            f"{self.users:,}",
            f"{self.seconds:.1f}",
            f"{rate * 60 / 1e6:.2f} M",
            f"{rate * EACH:,.0f}",
            self.note,
        )


def chunks(users: int) -> Iterator[pa.Table]:
    """The events, a million at a time."""
    random = np.random.default_rng(1)
    chances = np.cumsum(1 / np.arange(1, users + 1) ** 0.6)
    for first in range(0, users * EACH, CHUNK):
        size = min(CHUNK, users * EACH - first)
        who = np.searchsorted(chances, random.random(size) * chances[-1]).tolist()
        amounts = np.round(random.lognormal(3, 1, size), 2).tolist()
        texts = [f'{{"amount":{a!r},"page":"/p/{i % 50}"}}' for i, a in enumerate(amounts)]
        yield pa.table(
            {
                "event_id": [f"{first + i:032x}" for i in range(size)],
                "user_id": [f"user-{i:07d}" for i in who],
                "type": np.array(TYPES)[random.integers(0, 8, size)],
                "ts": np.sort(random.integers(NOW - 30 * DAY, NOW, size)),
                "properties": texts,
                "verdict": ["accepted"] * size,
                "topic": ["events.v1"] * size,
                "partition": pa.array(np.zeros(size), pa.int32()),
                "offset": pa.array(np.arange(first, first + size), pa.int64()),
                "n": pa.array(np.ones(size), pa.int64()),
                "at": pa.array(np.full(size, NOW), pa.int64()),
                "day": pa.array([date(2026, 9, 21)] * size, pa.date32()),
            }
        )


def fill(spark: Session, lake: Lake, users: int, folder: Path) -> None:
    """Everything that happened, in the table ``events``."""
    lake.create(spark)
    folder.mkdir()
    for number, chunk in enumerate(chunks(users)):
        pq.write_table(chunk, folder / f"{number}.parquet")
    rows = spark.read.parquet(str(folder))
    columns = [name for name in lake.read(spark, "events").columns if name in rows.columns]
    rows.select(columns).write.format("delta").mode("append").save(lake.path("events"))
    shutil.rmtree(folder)


def write_states(spark: Session, lake: Lake, plan: Plan, header: Header) -> None:
    """All states anew from events, as the stream would have left them."""
    events = lake.read(spark, "events").where("verdict = 'accepted'")
    facts = identified(events, at=NOW).select(FACT_COLUMNS)
    nobody = lake.read(spark, "profiles").select(STATE_INPUT)

    def tell(_: pa.Table, happened: pa.Table) -> pa.Table:
        states = told_anew(empty_state(), happened, plan=plan, now=NOW)
        return states.select(STATE_COLUMNS)

    groups = max(1, -(-events.count() // FACTS_PER_GROUP))
    states = brought_together(nobody, facts, groups, tell, STATE)
    write_profiles(states, lake=lake, header=header, buckets=plan.job.buckets, whole=False)


def measured(name: str, users: int, work: Callable[[], str]) -> Step:
    """One step, timed."""
    began = time.monotonic()
    note = work()
    step = Step(name, users, time.monotonic() - began, note)
    print(*step.row, flush=True)
    return step


def run(spark: Session, users: int, plan: Plan, folder: Path) -> list[Step]:
    """All steps on a lake of their own."""
    lake, header = Lake(str(folder / f"lake-{users}")), Header(n=1, now=NOW, plan=plan.hash)
    fill(spark, lake, users, folder / "events")
    root = Path(lake.root)

    def size(name: str) -> str:
        return f"{live_bytes(root / name) / 2**20:,.0f} MiB"

    def states() -> str:
        write_states(spark, lake, plan, header)
        return f"reads {size('events')}, writes {size('profiles')}"

    def members() -> str:
        found = recomputed(spark, lake, plan=plan, header=header, at=NOW)
        found.write.format("delta").save(lake.path("members"))
        return f"reads {size('events')}, writes {size('members')}"

    def audit() -> str:
        parity = Audit(spark, lake, Newest(header, plan, None)).parity()
        assert not parity.differences and not parity.states, parity
        return f"{parity.compared:,} memberships, {parity.differences} differences"

    def again() -> str:
        found = reevaluated(spark, lake, plan=plan, at=NOW)
        found.write.format("delta").save(lake.path("members_again"))
        return f"reads {size('profiles')}, writes {size('members_again')}"

    return [
        measured("states anew from events", users, states),
        measured("memberships from events", users, members),
        measured("audit: events against states", users, audit),
        measured("memberships from stored tiles", users, again),
    ]


def main() -> None:
    """Measure, and write a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("users", type=int, nargs="*", default=[500_000, 1_000_000])
    parser.add_argument("--write", type=Path, metavar="FILE", help="A page in Markdown, too.")
    asked = parser.parse_args()
    versions = [SegmentVersion(rule, 1) for rule in rules(RULES, 8)]
    plan = build_plan(versions, CATALOG, MemoryRegistry(), JobParameters(buckets=8))
    folder = Path(tempfile.mkdtemp(prefix="headrace-recompute-"))
    spark = open_session(
        "bench-recompute",
        master=f"local[{os.cpu_count()}]",
        jars=[str(jar) for jar in spark_jars()],
        settings={
            "spark.driver.memory": "3g",
            "spark.sql.shuffle.partitions": "8",
            "spark.driver.extraJavaOptions": " ".join(JVM),  # those of spark-submit.sh
        },
    )
    try:
        run(spark, WARMING, plan, folder)
        steps = [step for users in asked.users for step in run(spark, users, plan, folder)]
    finally:
        spark.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if asked.write is not None:
        asked.write.write_text(page(steps))


def page(steps: list[Step]) -> str:
    """What was measured, on what, when."""
    head = ("step", "users", "s", "users a minute", "events/s", "work")
    assert __doc__ is not None
    about = " ".join(__doc__.split("\n\n", 1)[1].split())
    lines = [
        "# Everything stored, evaluated anew",
        "",
        "Written by `make bench-recompute`; do not edit.",
        "",
        f"- {circumstances()}",
        f"- **Work**: {about}",
        "",
        *table(head, [step.row for step in steps]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
