"""One run in a process of its own: slow_run.py POSTGRES_URL RUN_ID DIARY SECONDS"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from headrace.jobs.runs import Timings, run_once
from headrace.settings import Settings

QUICK = Timings(lease=1.0, renew=0.2, ask=0.05)


def write(diary: Path, word: str) -> None:
    with diary.open("a") as lines:
        lines.write(f"{word}\n")


if __name__ == "__main__":
    url, run_id, diary, seconds = sys.argv[1:]

    def work(_: object) -> int:
        write(Path(diary), "begin")
        time.sleep(float(seconds))
        write(Path(diary), "end")
        return 0

    sys.exit(run_once(Settings(postgres_url=url), "recompute", run_id, work, timings=QUICK))
