"""docs/benchmarks.md: what was measured, on what, when, and how to measure it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from calibration import PER_EVENT
from drain import Drained
from latency import Latency
from rivals import ByHand, Evaluated

MIB = 2**20
LIBRARIES = ("pyspark", "delta-spark", "polars", "numpy", "pyarrow", "confluent-kafka")


@dataclass(slots=True)
class Findings:
    """Everything one run of the command found, as far as it came."""

    machine: str
    command: str
    commit: str
    events: int
    users: int
    message_bytes: float
    fill_seconds: float
    settings: str
    drained: list[Drained] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    by_hand: list[ByHand] = field(default_factory=list)
    evaluated: list[Evaluated] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table; all columns but the first are figures."""
    lines = [" | ".join(head), " | ".join(["---", *["--:"] * (len(head) - 1)])]
    lines += [" | ".join(str(cell) for cell in row) for row in rows]
    return [f"| {line} |" for line in lines]


def render(found: Findings) -> str:
    """The whole page."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; do not edit. Run it again to replace it.",
        "",
        f"- **Machine**: {found.machine}. Broker, Postgres, Redis, loader, streaming job and the"
        " producer share it.",
        f"- **Date**: {now}, commit {found.commit}. **Command**: `{found.command}`",
        f"- **Versions**: {libraries}",
        f"- **Settings**: {found.settings}",
        f"- **Workload**: {found.users:,} users, {found.events:,} events over 30 days (Zipf 0.6),"
        f" 8 event types, log-normal amounts, {found.message_bytes:.0f} bytes of JSON each, in"
        " 4 partitions, lz4, in the order of their time; filled once in"
        f" {found.fill_seconds:.0f} s, then read by every run.",
        "- **Rules**: K rules of two conjuncts from {count, sum} x 8 types x {1, 7, 30 days};"
        f" thresholds are quantiles scaled per K so that a run yields {PER_EVENT} transitions an"
        " event. One rule cannot: a drain's now stands nearly still, so a user enters a rule at"
        " most once, and a type's events reach 6 in 10 users; K = 1 takes the most there is. Up to"
        " K = 10 all windows are of 30 days, for the same reason. `plain` takes quantiles between"
        " 90 and 99.9 % unscaled. `published` sends every accepted event on to"
        " events.accepted.v1 too.",
        "",
        *_drains(found.drained),
        *_latencies(found.latencies),
        *_by_hand(found.by_hand),
        *_evaluated(found.evaluated),
    ]
    if found.failures:
        lines += ["## What did not work", "", *(f"- {failure}" for failure in found.failures), ""]
    return "\n".join(lines).rstrip() + "\n"


def _drains(runs: Sequence[Drained]) -> list[str]:
    if not runs:
        return []
    speed = table(
        ("K", "events/s", "after the first batch", "seconds", "batches", "CPU s / M events",
         "transitions / event", "published / true", "wrong", "sent twice"),
        (
            (run.label, f"{run.rate:,.0f}", f"{run.warm_rate:,.0f}", f"{run.seconds:.1f}",
             run.batches,
             f"{sum(run.cost.cpu_seconds.values()) / run.events * 1e6:.1f}",
             f"{run.verdict.true / run.events:.3f}", f"{run.verdict.ratio:.4f}",
             run.verdict.wrong, run.repeats)
            for run in runs
        ),
    )  # fmt: skip
    size = table(
        ("K", "peak RSS MiB, all", "driver JVM", "Python workers", "broker", "loader", "redis",
         "peak heap MiB", "state bytes / user", "events table bytes / event", "read MB/s",
         "published MB/s"),
        (
            (run.label, f"{run.cost.peak_total_mib:,.0f}",
             *(f"{run.cost.peak_mib.get(part, 0):,.0f}"
               for part in ("driver", "workers", "broker", "loader", "redis")),
             f"{run.cost.peak_heap_mib:,.0f}", f"{run.state_bytes / run.users:,.0f}",
             f"{run.table_bytes / run.events:,.0f}",
             f"{run.read_bytes / run.seconds / 1e6:.1f}",
             f"{run.published_bytes / run.seconds / 1e6:.1f}")
            for run in runs
        ),
    )  # fmt: skip
    steps = sorted({step for run in runs for step in run.steps})
    parts = sorted({part for run in runs for part in run.cost.cpu_seconds})
    where = table(
        ("K", *(f"{step}, s" for step in steps), *(f"CPU s: {part}" for part in parts)),
        (
            (run.label, *(run.steps.get(step, "") for step in steps),
             *(f"{run.cost.cpu_seconds.get(part, 0.0):.1f}" for part in parts))
            for run in runs
        ),
    )  # fmt: skip
    return [
        "## Draining the topic",
        "",
        "The clock runs from the instant Spark planned the first batch to the broker's timestamp"
        " of the last published transition; start-up is apart. *True* transitions are computed by"
        " column arithmetic over the generated events at each batch's own end offsets and now;"
        " *wrong* counts (batch, user, rule, direction) that are in one of the two sets only.",
        "",
        *speed,
        "",
        "Resident memory counts shared pages once for each process, so sums are upper bounds. The"
        " heap is what was in use, garbage included, of 3 GiB allowed.",
        "",
        *size,
        "",
        "Where the time goes, summed over the batches that read events:",
        "",
        *where,
        "",
    ]


def _latencies(rows: Sequence[Latency]) -> list[str]:
    if not rows:
        return []
    return [
        "## From event to Redis",
        "",
        "K = 1,000, with thresholds for which this traffic yields as many transitions an event as"
        " the drain, handed over to the running stream. Twenty probes a second among the traffic,"
        " each the first event of a user never seen before, stamped by the producer; Redis is asked"
        " for the user every 20 ms. The first tenth of the time is left out.",
        "",
        *table(
            ("events/s", "for s", "probes", "lost", "p50 s", "p95 s", "p99 s"),
            (
                (f"{row.rate:,}", f"{row.seconds:.0f}", row.probes, row.missing,
                 f"{row.p50:.2f}", f"{row.p95:.2f}", f"{row.p99:.2f}")
                for row in rows
            ),
        ),
        "",
    ]  # fmt: skip


KINDS = {
    "merge": "foreachBatch, hourly counters by MERGE, one column per rule",
    "windows": "one sliding-window query per rule",
}


def _by_hand(rows: Sequence[ByHand]) -> list[str]:
    if not rows:
        return []
    return [
        "## The jobs people write by hand",
        "",
        "On the same topic, each for two minutes at most (the batch in hand may end). *Wrong*"
        " counts memberships that differ from the truth at the job's last instant: hourly counters"
        " cannot see the five-minute steps of a one-day window.",
        "",
        *table(
            ("job", "K", "events read", "of", "seconds", "events/s", "wrong", "of", ""),
            (
                (KINDS[row.kind], row.rules, f"{row.events:,}", f"{row.wanted:,}",
                 f"{row.seconds:.0f}", f"{row.rate:,.0f}",
                 "did not finish" if row.wrong is None else f"{row.wrong:,}",
                 "" if row.right is None else f"{row.right:,}", row.failure or "")
                for row in rows
            ),
        ),
        "",
    ]  # fmt: skip


def _evaluated(rows: Sequence[Evaluated]) -> list[str]:
    if not rows:
        return []
    return [
        "## `headrace evaluate` over a file of the same events",
        "",
        *table(
            ("engine", "users", "K", "seconds, start-up included", "users x rules / s", "wrong",
             "of memberships"),
            (
                (row.engine, f"{row.users:,}", row.rules, f"{row.seconds:.1f}", f"{row.rate:,.0f}",
                 row.wrong, f"{row.right:,}")
                for row in rows
            ),
        ),
        "",
    ]  # fmt: skip


def write(found: Findings, file: Path) -> None:
    """Replace ``file`` by what is known so far."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(found), encoding="utf-8")
