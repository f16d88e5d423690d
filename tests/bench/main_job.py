"""Measure the main job: ``make bench``, or ``python tests/bench/main_job.py --rules 100,1000``.

Writes docs/benchmarks.md as it goes; at another scale than 1 it prints the page instead, so that
a trial never replaces real figures. Exit code 1 when anything published was wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import report
from calibration import draw_rules
from drain import Drained, drain
from latency import latency
from report import Findings
from rivals import by_hand, evaluate, write_files
from stage import ROOT, Stage
from topic import Filled, fill
from truth import Ranked, measures
from workload import Events, Rules, draw_events, draw_traffic

from circumstances import commit, machine
from headrace.messages.topics import EVENTS

RIVAL_RULES = (10, 100, 1_000)
RIVAL_SECONDS = 120.0
STEADY_RATE = 1_000
STEADY_SECONDS = 60.0
EVALUATED_RULES = 1_000


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", default="1,100,1000,10000", help="values of K, by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="of users and events")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, default=ROOT / ".headrace" / "bench")
    parser.add_argument("--skip", default="", help="of plain,rivals,evaluate,latency, by commas")
    parser.add_argument(
        "--publish", action="store_true", help="each drain also with all events published"
    )
    parser.add_argument("--keep", action="store_true", help="leave the servers' data and logs")
    parser.add_argument("--output", type=Path, help="the page; default docs/benchmarks.md")
    return parser.parse_args()


class Bench:
    """One run of the command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.skipped = set(arguments.skip.split(","))
        self.output: Path | None = arguments.output
        if self.output is None and arguments.scale == 1.0:
            self.output = ROOT / "docs" / "benchmarks.md"
        self.stage = Stage.build(arguments.home.absolute())
        self.stage.create_topics()
        end = time.time_ns() // 1_000_000
        self.events: Events = draw_events(seed=arguments.seed, end=end, scale=arguments.scale)
        self.filled: Filled = fill(self.stage.bootstrap, EVENTS, self.events)
        say(f"{len(self.events):,} events in the topic after {self.filled.seconds:.1f} s")
        stream = self.stage.settings.stream
        self.found = Findings(
            machine=machine(),
            command="python " + " ".join(sys.argv),
            commit=commit(),
            events=len(self.events),
            users=self.events.users,
            message_bytes=self.filled.size / len(self.events),
            fill_seconds=self.filled.seconds,
            settings=f"master {stream.master}, driver memory {stream.driver_memory}, trigger"
            f" {stream.trigger_ms} ms, at most {stream.max_events_per_batch:,} events a batch,"
            f" {stream.buckets} buckets",
        )

    def run(self) -> bool:
        """Everything that was asked for; False when something published was wrong."""
        counts = [int(word) for word in self.arguments.rules.split(",") if word]
        # The run whose stream stays up for the latencies comes last.
        for count in sorted(counts, key=lambda count: count == EVALUATED_RULES):
            if count == EVALUATED_RULES:
                self.aside(count)
            self.attempt(f"K = {count}", lambda count=count: self.drain(f"{count:,}", count))
            if self.arguments.publish:
                self.attempt(f"K = {count} published", lambda count=count: self.published(count))
            if count == EVALUATED_RULES and "latency" not in self.skipped:
                self.attempt("latency", self.latencies)
        if EVALUATED_RULES not in counts:
            self.aside(max(counts, default=10))
        self.found.drained.sort(key=lambda run: (run.rules, run.label))
        self.save()
        return not self.found.failures and all(run.verdict.wrong == 0 for run in self.found.drained)

    def aside(self, count: int) -> None:
        """What needs the topic as it was filled and no streaming job of ours."""
        if "plain" not in self.skipped:
            label = f"{count:,} plain"
            self.attempt(label, lambda: self.drain(label, count, plain=True))
        self.stage.stop()
        if "rivals" not in self.skipped:
            for rules in RIVAL_RULES:
                self.attempt(f"by hand, K = {rules}", lambda k=rules: self.rival("merge", k))
            self.attempt("sliding windows", lambda: self.rival("windows", RIVAL_RULES[0]))
        if "evaluate" not in self.skipped:
            self.attempt("evaluate", lambda: self.evaluated(count))

    def attempt(self, what: str, work: Callable[[], None]) -> None:
        """Do one part; its failure is a finding, not the end of the others."""
        say(what)
        try:
            work()
        except Exception as error:
            traceback.print_exc()
            self.found.failures.append(f"{what}: {error}")
        self.save()

    def rules(self, count: int, *, plain: bool = False) -> Rules:
        """K rules calibrated for the present instant."""
        ranked = Ranked.of(measures(self.events, time.time_ns() // 1_000_000))
        return draw_rules(ranked, len(self.events), count, seed=self.arguments.seed, plain=plain)

    def drain(self, label: str, count: int, *, plain: bool = False) -> None:
        """One drain."""
        rules = self.rules(count, plain=plain)
        run = drain(self.stage, label, self.events, rules, self.filled.size)
        self.found.drained.append(run)
        say(
            f"  {run.rate:,.0f} events/s, published/true {run.verdict.ratio:.4f},"
            f" wrong {run.verdict.wrong}, {run.steps}"
        )

    def published(self, count: int) -> None:
        """The drain again, with every accepted event published beside what changed."""
        label = f"{count:,} published"
        rules = self.rules(count)
        run = drain(self.stage, label, self.events, rules, self.filled.size, sends_on=True)
        self.found.drained.append(run)
        if run.sent_on != len(self.events):
            self.found.failures.append(f"{label}: {run.sent_on} of {len(self.events)} events")
        say(f"  {run.rate:,.0f} events/s, {run.sent_on:,} events published, {run.steps}")

    def latencies(self) -> None:
        """Steady traffic on the stream that has just drained, by rules it has the same yield for.

        By the drain's rules it would have far more: a month's worth of events in minutes.
        """
        last: Drained = self.found.drained[-1]
        now = time.time_ns() // 1_000_000
        table = measures(self.events, now)
        for seed, rate in enumerate((STEADY_RATE, round(last.rate / 2, -2))):
            count, users = int(rate * STEADY_SECONDS), self.events.users
            traffic = draw_traffic(np.random.default_rng(seed), count=count, users=users, now=now)
            before, table = table, table + measures(traffic, now)
            rules = draw_rules(
                Ranked.of(table), count, last.rules, seed=seed, before=Ranked.of(before)
            )
            self.stage.exchange(rules)
            row = latency(
                self.stage,
                rate=int(rate),
                seconds=STEADY_SECONDS,
                users=self.events.users,
                seed=seed,
            )
            self.found.latencies.append(row)
            say(f"  {row}")

    def rival(self, kind: str, count: int) -> None:
        """One job written by hand."""
        row = by_hand(self.stage, kind, self.events, self.rules(count), RIVAL_SECONDS)
        self.found.by_hand.append(row)
        say(f"  {row}")

    def evaluated(self, count: int) -> None:
        """The batch path over a file, by Spark and by the kernel alone."""
        rules = self.rules(count)
        rules_at, lines = write_files(self.stage.home / "files", self.events, rules)
        for engine in ("spark", "kernel"):
            row = evaluate(engine, rules_at, lines, self.events, rules)
            self.found.evaluated.append(row)
            say(f"  {row}")

    def save(self) -> None:
        """Write the page as far as it is known."""
        if self.output is not None:
            report.write(self.found, self.output)


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Run, and leave no process behind."""
    arguments = parsed()
    home = arguments.home.absolute()
    try:
        bench = Bench(arguments)
        is_right = bench.run()
        if bench.output is None:
            print(report.render(bench.found))
        return 0 if is_right else 1
    finally:
        if arguments.keep:
            Stage.halt(home)
        else:
            Stage.clear(home)


if __name__ == "__main__":
    sys.exit(main())
