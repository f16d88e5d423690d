"""Random lives of deployments without servers: `python tests/chaos/lives.py --actions 10000`."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from page import keep

from simulation import LIFE, lives


def main() -> int:
    """Whatever differs is raised, with the seed of its life."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    asked = parser.parse_args()
    print(f"replay: python tests/chaos/lives.py --actions {asked.actions} --seed {asked.seed}")
    began = time.monotonic()
    done = lives(asked.actions, asked.seed)
    figures = {
        "seed": asked.seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "lives": -(-asked.actions // LIFE),
        "actions": dict(sorted(done.items())),
        "differences": 0,
    }
    print(json.dumps(figures, indent=2))
    keep("lives", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
