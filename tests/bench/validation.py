"""How long checking a folder of rules takes: `python tests/bench/validation.py [SHAPE ...]`.

Seconds for 1,000 rules, read and checked, by shape of the folder: what most folders look like, and
what would make the reasoning about overlaps grow with the square. Exit 1 when an ordinary folder
takes more than 5 s. `--profile` tells where they go.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

from headrace.rules.folder import load_rules
from rule_folders import write_rules

MOST_SECONDS = 5.0
ORDINARY = "mixed"
COUNTRIES = ("DE", "FR", "US", "IT")
TYPES = tuple(f"type_{number}" for number in range(8))
CATALOG = (
    """\
apiVersion: headrace/v1
kind: Catalog
events:
"""
    + "".join(
        f"  {name}: {{properties: {{amount: {{type: decimal}}, page: {{type: string}},"
        f" items: {{type: integer}}}}}}\n"
        for name in TYPES
    )
    + "traits: {country: {type: string}, age: {type: integer}, signed_up: {type: timestamp}}\n"
)


def mixed(random: Random, number: int) -> str:
    """One to four comparisons, some of filtered events."""
    return f"{{{random.choice(('all', 'all', 'any'))}: [{', '.join(parts(random))}]}}"


def parts(random: Random) -> list[str]:
    found = []
    for _ in range(random.randint(1, 4)):
        event, days = random.choice(TYPES), random.choice((1, 7, 14, 30, 90))
        page = f", where: {{page: /p/{random.randrange(50)}}}" if random.random() < 0.3 else ""
        found.append(
            random.choice(
                (
                    f"{{event: {event}, count: true{page}, within: {days} days,"
                    f" gte: {random.randint(1, 90)}}}",
                    f"{{event: {event}, sum: amount{page}, within: {days} days,"
                    f" gt: {random.randint(1, 5_000)}}}",
                    f"{{did_not: {event}{page}, within: {days} days}}",
                    f"{{trait: country, in: [{random.choice(COUNTRIES)}, NL]}}",
                    f"{{trait: age, between: [{random.randint(18, 40)}, 65]}}",
                )
            )
        )
    return found


def tiers(random: Random, number: int) -> str:
    """One measure and a thousand thresholds: each is part of hundreds of others."""
    return f"{{event: type_0, count: true, within: 30 days, gte: {number + 1}}}"


def pages(random: Random, number: int) -> str:
    """A thousand filters of one event."""
    seen = f"{{did: type_0, where: {{page: /p/{number}}}}}"
    return f"{{all: [{seen}, {{did_not: type_0, within: 7 days}}]}}"


def windows(random: Random, number: int) -> str:
    """A thousand windows of one event, inside each other."""
    return f"{{event: type_0, max: amount, within: {number + 60} minutes, gt: {number % 7}}}"


def wide(random: Random, number: int) -> str:
    """Some ten comparisons a rule."""
    ways = (f"{{all: [{', '.join(parts(random))}]}}" for _ in range(4))
    return f"{{any: [{', '.join(ways)}]}}"


def chained(random: Random, number: int) -> str:
    """Each refers to the one before."""
    if not number:
        return "{did: type_0}"
    return f"{{all: [{{segment: s{number - 1}}}, {', '.join(parts(random))}]}}"


SHAPES: Mapping[str, Callable[[Random, int], str]] = {
    "mixed": mixed, "tiers": tiers, "pages": pages, "windows": windows, "wide": wide,
    "chained": chained,
}  # fmt: skip


def measured(shape: str, rules: int, profile: bool) -> float:
    random = Random(1)
    with tempfile.TemporaryDirectory() as folder:
        texts = {f"s{number}": SHAPES[shape](random, number) for number in range(rules)}
        write_rules(Path(folder), texts, CATALOG)
        profiler = cProfile.Profile(timer=time.process_time)
        started = time.process_time()
        found = profiler.runcall(load_rules, folder) if profile else load_rules(folder)
        took = time.process_time() - started
    assert not found.errors, found.errors[:3]
    told = dict(sorted(Counter(problem.code for problem in found.problems).items()))
    print(f"{shape:8} {rules:6,} rules  {took:6.2f} s CPU  {told}")
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(14)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    took = {one: measured(one, given.rules, given.profile) for one in given.shapes or SHAPES}
    return int(took.get(ORDINARY, 0.0) > MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
