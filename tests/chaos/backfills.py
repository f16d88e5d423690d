"""One backfill that dies again and again: `python tests/chaos/backfills.py --deaths 20`.

A rule is published that needs history. The job dies by SIGKILL amid building it, every time it has
been started again, while events come; then it may end. The same rule is retired and brought back,
which builds the same history once more, uninterrupted. Each time what is served must be what the
reference evaluator says.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

from homes import trial_home
from page import keep
from storm import Storm

from headrace.clock import system_clock

PLACE = "mid-backfill"
REACHED_WITHIN = 180.0


def died(storm: Storm) -> bool:
    """Let the job die the next time it reads history, while events come; did it?"""
    file = storm.failpoints / PLACE
    file.touch()
    deadline = time.monotonic() + REACHED_WITHIN
    while file.exists() and time.monotonic() < deadline:
        storm.serve_all()
        storm.send(storm.shop.live(20, system_clock()))
        time.sleep(1)
    was_reached = not file.exists()
    file.unlink(missing_ok=True)
    return was_reached


def main() -> int:
    """1 when anything differs, or a death did not come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    asked = parser.parse_args()
    print(f"replay: python tests/chaos/backfills.py --deaths {asked.deaths} --seed {asked.seed}")
    began = time.monotonic()
    with trial_home("backfills") as (home, stack):
        storm = Storm(home, asked.seed, 400, 60, stack)
        storm.open()
        deaths = 0
        for round_ in ("interrupted", "once more"):
            storm.chosen["quiet"] = 1  # asks for logins, which no other rule counts
            storm.apply()
            while round_ == "interrupted" and deaths < asked.deaths and died(storm):
                deaths += 1
                print(f"died amid the backfill, {deaths}", flush=True)
            storm.serve_all()
            storm.prove()
            storm.chosen["quiet"] = 0
            storm.apply()
            storm.catch_up()
        assert storm.reader is not None
        wrong = [*storm.differences, *storm.reader.wrong]
    figures = {
        "seed": asked.seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "deaths": deaths,
        "memberships compared": storm.memberships,
        "differences": len(wrong),
    }
    for line in wrong[:50]:
        print(line)
    print(json.dumps(figures, indent=2))
    keep("backfills", figures)
    return int(bool(wrong) or deaths < asked.deaths)


if __name__ == "__main__":
    sys.exit(main())
