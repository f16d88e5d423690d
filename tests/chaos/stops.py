"""The stream told to stop at random instants, again and again: `python tests/chaos/stops.py`.

Events go on coming meanwhile. No stop may raise, none may take longer than 15 s, and in the end the
members are those of the reference evaluator.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from page import keep

from databases import fresh_database
from deployment import Deployment
from headrace.embedded import running
from headrace.embedded.jars import spark_jars
from headrace.jobs.shop import Shop
from headrace.jobs.stream import stream
from headrace.settings import Settings
from headrace.spark.session import Session, open_session

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


def storm(spark: Session, settings: Settings, rules: Path, stops: int, seed: int) -> list[float]:
    """Stop, start, and so on; then everything is compared."""
    dice = random.Random(seed)
    with Deployment.opened(spark, settings, rules) as here:
        here.publish(RULES, CATALOG)
        shop = Shop(seed=seed, users=60, start=time.time_ns() // 1_000_000)
        took = []
        for number in range(stops):
            now = time.time_ns() // 1_000_000
            here.send([m.value for m in shop.live(dice.randint(1, 60), now) if m.kind == "event"])
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
    folder = Path(tempfile.mkdtemp(prefix="headrace-stops-"))
    spark = open_session(
        "headrace-stops",
        master=f"local[{os.cpu_count()}]",
        jars=[str(jar) for jar in spark_jars()],
        settings={"spark.driver.memory": "2g", "spark.sql.shuffle.partitions": "2"},
    )
    try:
        with running(folder / "servers") as servers:
            settings = Settings(
                home=folder / "home",
                postgres_url=fresh_database(servers),
                kafka_bootstrap=servers.kafka_bootstrap,
                redis_url=servers.redis_url,
                stream={"trigger_ms": 300, "buckets": 2},
            )
            took = sorted(storm(spark, settings, folder / "rules", asked.stops, asked.seed))
    finally:
        spark.stop()
        shutil.rmtree(folder, ignore_errors=True)
    middle, longest = round(took[len(took) // 2], 1), round(took[-1], 1)
    figures = {"seed": asked.seed, "stops": len(took), "p50 s": middle, "max s": longest}
    print(json.dumps(figures))
    keep("stops", figures)
    return int(longest > LONGEST)


if __name__ == "__main__":
    sys.exit(main())
