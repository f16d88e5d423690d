"""What a longer window costs: `python tests/bench/windows.py`.

Two deployments get the same events: a history of 90 days, 40 events a user, then batches of 10,000
events of the moment, one deployment after the other, in turns of ten batches. The rules of one look
back 7 days, those of the other 90, with the same hop of an hour. Seconds are medians of whole
batches; in the end an audit recomputes every state and membership of both from the stored events.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from report import table

from circumstances import ROOT, circumstances
from deployment import Deployment
from headrace.clock import DAY
from headrace.spark.course import Report
from headrace.spark.recompute import Audit
from headrace.spark.start import newest_batch
from in_process import deployments

CATALOG = (ROOT / "rules" / "catalog.yaml").read_text()
USERS = 5_000
EACH = 40
LIVE = 10_000
TURNS, IN_A_TURN = 5, 10
RULES = 40


@dataclass
class Lane:
    """One deployment and the seconds of its measured batches, whole and in the kernel's step."""

    days: int
    here: Deployment
    dice: random.Random
    whole: list[float] = field(default_factory=list)
    fold: list[float] = field(default_factory=list)

    def turn(self, batches: int) -> None:
        """Feed one batch after another; note what each took."""
        done = 0

        def fed(report: Report) -> bool:
            nonlocal done
            if report.events:
                done += 1
                self.whole.append(sum(report.seconds.values()))
                self.fold.append(report.seconds["fold"])
            if done < batches and self.here.counted >= self.here.sent:
                self.here.send(events(self.dice, LIVE, _now(), spread=1))
            return done >= batches and self.here.counted >= self.here.sent

        self.here.send(events(self.dice, LIVE, _now(), spread=1))
        self.here.run(fed)
        self.here.lines.clear()


def rules(days: int) -> dict[str, str]:
    """Counts and sums over ``days``."""
    window = f"within: {days} days, resolution: 1h"
    views = [f"count: true, {window}, gte: {n}" for n in range(1, RULES // 2 + 1)]
    amounts = [f"sum: amount, {window}, gt: {20 * n}" for n in range(1, RULES // 2 + 1)]
    return {
        **{f"viewers_{n}": f"{{event: page_view, {rest}}}" for n, rest in enumerate(views)},
        **{f"spenders_{n}": f"{{event: purchase, {rest}}}" for n, rest in enumerate(amounts)},
    }


def events(
    dice: random.Random, count: int, now: int, *, spread: int
) -> Iterator[dict[str, object]]:
    """Views and purchases of random users within ``spread`` ms before ``now``."""
    for _ in range(count):
        kind = dice.choice(("page_view", "purchase"))
        more = {"page": "/"} if kind == "page_view" else {"amount": dice.randrange(1, 5_000) / 100}
        yield {
            "event_id": f"{dice.getrandbits(64):x}", "user_id": f"u{dice.randrange(USERS)}",
            "type": kind, "ts": now - dice.randrange(spread), "properties": more,
        }  # fmt: skip


def is_right(here: Deployment) -> bool:
    """Is the stream's every state and membership what the stored events make it?"""
    parity = Audit(here.spark, here.lake, newest_batch(here.spark, here.lake)).parity()
    return parity.compared > 0 and parity.differences + parity.states == 0


def _now() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    """Measure, and write a page; 1 when members are wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--write", type=Path, metavar="FILE", help="A page in Markdown, too.")
    asked = parser.parse_args()
    with deployments("windows") as opened:
        lanes = [Lane(days, opened(f"days{days}"), random.Random(1)) for days in (7, 90)]
        for lane in lanes:
            lane.here.publish(rules(lane.days), CATALOG)
            lane.here.send(events(lane.dice, USERS * EACH, _now(), spread=90 * DAY))
            lane.here.run(lambda report, here=lane.here: here.counted >= here.sent)
        for turn in range(asked.turns + 1):
            for lane in lanes if turn % 2 else reversed(lanes):
                lane.turn(IN_A_TURN)
                if turn == 0:  # warms up
                    lane.whole.clear()
                    lane.fold.clear()
                print(turn, lane.days, f"{statistics.median(lane.whole or [0]):.2f}", flush=True)
        wrong = [lane.days for lane in lanes if not is_right(lane.here)]
    text = page(lanes)
    print(text)
    if asked.write is not None:
        asked.write.write_text(text)
    if wrong:
        print(f"members are wrong: {wrong}", file=sys.stderr)
    return int(bool(wrong))


def page(lanes: list[Lane]) -> str:
    """What was measured, on what, when."""
    assert __doc__ is not None
    about = " ".join(__doc__.split("\n\n", 1)[1].split())
    rows = [
        (
            f"{lane.days} days",
            len(lane.whole),
            f"{statistics.median(lane.whole):.2f}",
            f"{statistics.median(lane.fold):.2f}",
        )
        for lane in lanes
    ]
    short, long = (statistics.median(lane.whole) for lane in lanes)
    lines = [
        "# Longer windows",
        "",
        "Written by `make bench-windows`; do not edit.",
        "",
        f"- {circumstances()}",
        f"- **Work**: {about}",
        f"- **90 days cost {long / short:.2f} times what 7 days cost.**",
        "",
        *table(("windows of", "batches", "s a batch", "of that in the kernel's step"), rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
