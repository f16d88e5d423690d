"""How long the profile of one of many users takes: `python tests/bench/profiles.py`.

Tables as the stream leaves them: a large file in each of eight buckets, and what the last batches
appended; 20,000 states of ten events each under 1,000 rules, written under other names until there
are enough; one user in ten goes by two ids. Users are drawn at random. From the question to the
answer within the API's process, without HTTP and Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from evaluation import POOL, compile_plan, rules
from kernel import NOW, USERS, history
from report import table

from circumstances import circumstances
from headrace.clock import DAY
from headrace.engine.advance import advance
from headrace.engine.families import FAMILY_SCHEMA
from headrace.engine.state import empty_state
from headrace.lake.tables import Tables
from headrace.lake.users import bucket_of
from headrace.plan.model import Plan
from headrace.serving.profiles import StoredProfiles
from headrace.serving.reading import Readers
from headrace.store import Execution, StoredPlan

BATCHES = 20
TOUCHED = 2_000
ASKED = 500


def renamed(state: pa.Table, plan: Plan, crowd: int, n: int) -> pa.Table:
    """The same states as those of other users, as batch ``n`` writes them."""
    names = pc.binary_join_element_wise(state["user_id"], pa.scalar(f"{crowd:03d}"), "-")
    buckets = [bucket_of(name, plan.job.buckets) for name in names.to_pylist()]
    columns = {"user_id": names, "n": pa.array(np.full(len(state), n))}
    told = {name: columns.get(name, state[name]) for name in state.column_names}
    return pa.table({**told, "bucket": pa.array(buckets, pa.int32())})


def fill(root: Path, plan: Plan, crowds: int) -> list[str]:
    """Write the tables; everybody's id."""
    facts = history(np.random.default_rng(1), 10 * USERS, NOW - 30 * DAY, NOW, 0)
    state = advance(empty_state(), facts, plan=plan, now=NOW, n=1, full=True)
    everybody = pa.concat_tables([renamed(state, plan, crowd, 1) for crowd in range(crowds)])
    everybody = everybody.take(np.random.default_rng(2).permutation(len(everybody)))
    profiles = str(root / "profiles")
    write_deltalake(profiles, everybody, partition_by=["bucket"])
    for n in range(2, 2 + BATCHES):
        some = renamed(state.slice(0, TOUCHED), plan, n % crowds, n)
        write_deltalake(profiles, some, partition_by=["bucket"], mode="append")
    users: list[str] = everybody["user_id"].to_pylist()
    rows = [
        {"user_id": name, "family": user, "canonical": user, "links": "[]", "n": 1}
        for user in users[:: 2 * 5]
        for name in (user, f"visitor-{user}")
    ]
    links = pa.Table.from_pylist(rows, FAMILY_SCHEMA.append(pa.field("n", pa.int64())))
    write_deltalake(str(root / "identities"), links)
    return users


@contextmanager
def lake() -> Iterator[Path]:
    """A folder for tables."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


async def answers(profiles: StoredProfiles, users: Sequence[str], at_once: int) -> list[float]:
    """Milliseconds of each, so many under way at a time."""
    waiting, took = iter(users), []

    async def ask() -> None:
        for user in waiting:
            start = time.perf_counter()
            found = await profiles.profile(user, NOW)
            took.append(1e3 * (time.perf_counter() - start))
            assert found is not None and found.measures, user

    await asyncio.gather(*(ask() for _ in range(at_once)))
    return took


def figures(crowds: int, plan: Plan) -> list[tuple[str, ...]]:
    """Rows of the table for so many users."""
    stored, rows = StoredPlan(plan.hash, plan.to_json()), []
    with lake() as root:
        users = fill(root, plan, crowds)
        running = Execution("stream", plan.hash, 1, datetime.now(UTC))
        profiles = StoredProfiles(
            Tables(str(root)), Readers(), lambda: running, lambda _: stored, str
        )
        drawn = np.random.default_rng(3).choice(users, ASKED)
        for at_once in (1, 4):
            asyncio.run(answers(profiles, drawn[:20], at_once))
            start = time.perf_counter()
            took = sorted(asyncio.run(answers(profiles, drawn, at_once)))
            rate = len(took) / (time.perf_counter() - start)
            rows.append(
                (
                    f"{len(users):,}",
                    f"{at_once}",
                    *(f"{took[int(len(took) * part)]:.0f}" for part in (0.5, 0.95, 0.99)),
                    f"{rate:.0f}",
                )
            )
            print("  ".join(f"{cell:>10}" for cell in rows[-1]), flush=True)
    return rows


HEAD = ("users", "at once", "p50 ms", "p95 ms", "p99 ms", "answers/s")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("users", type=int, nargs="*", default=[100_000, 1_000_000])
    arguments.add_argument("--write", type=Path, metavar="FILE", help="A table in Markdown, too.")
    options = arguments.parse_args()
    plan = compile_plan(rules(1_000, POOL))
    rows = [row for users in options.users for row in figures(users // USERS, plan)]
    if options.write:
        lines = [
            "# Profiles of single users",
            "",
            "Written by `make bench-profiles`; do not edit.",
            "",
            f"- {circumstances()}",
            f"- **Work**: {(__doc__ or '').split(chr(10), 2)[2].strip()}",
            "",
            *table(HEAD, rows),
            "",
        ]
        options.write.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
