"""The stream told to stop at random instants, again and again: `python tests/chaos/stops.py`.

Events go on coming meanwhile. No stop may raise, none may take longer than 15 s, and in the end the
members are those of the reference evaluator.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from page import keep

from deployment import Deployment
from headrace.jobs.shop import Shop
from headrace.jobs.stream import stream
from in_process import deployments

CATALOG = (Path(__file__).resolve().parents[2] / "rules" / "catalog.yaml").read_text()
RULES = {
    "spenders": "{event: purchase, sum: amount, within: 30 days, gt: 100}",
    "browsing": "{did: page_view, within: 5 seconds, resolution: 1s}",
}
LONGEST = 15.0


def stopped(here: Deployment, after: float) -> float:
    """Run for ``after`` seconds; how long the stop then took."""
    until = time.monotonic() + after
    stream(
        here.spark, here.settings, stopping=lambda: time.monotonic() > until,
        watch=here.reports.append,
    )  # fmt: skip
    return max(0.0, time.monotonic() - until)


def storm(here: Deployment, stops: int, seed: int) -> list[float]:
    """Stop, start, and so on; then everything is compared."""
    dice = random.Random(seed)
    here.publish(RULES, CATALOG)
    shop = Shop(seed=seed, users=60, start=time.time_ns() // 1_000_000)

    def tell() -> None:
        now = time.time_ns() // 1_000_000
        here.send([m.value for m in shop.live(dice.randint(1, 60), now) if m.kind == "event"])

    tell()
    here.run()  # a JVM's first batch is slow: a supervisor would not wait for its end
    took = []
    for number in range(stops):
        tell()
        took.append(stopped(here, dice.uniform(0, 3)))
        print(f"{number + 1}: stopped within {took[-1]:.1f} s", flush=True)
    here.run()
    assert here.members() == here.expected(), "members are not the oracle's"
    return took


def main() -> int:
    """1 when a stop took too long; whatever a stop raises comes through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    asked = parser.parse_args()
    with deployments("stops") as opened:
        took = sorted(storm(opened("stops", trigger_ms=300, buckets=2), asked.stops, asked.seed))
    middle, longest = round(took[len(took) // 2], 1), round(took[-1], 1)
    figures = {"seed": asked.seed, "stops": len(took), "p50 s": middle, "max s": longest}
    print(json.dumps(figures))
    keep("stops", figures)
    return int(longest > LONGEST)


if __name__ == "__main__":
    sys.exit(main())
