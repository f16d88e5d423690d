"""What users who do nothing cost: `python tests/bench/idle.py`.

Each crowd has one old event a user. Then the same trickle of events comes, batch after batch, from
users of their own; some of those leave by time alone afterwards. The job runs in this process, on
Kafka, Postgres and Delta on this machine. Seconds are medians of whole batches.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

from report import table

from circumstances import ROOT, circumstances
from headrace.clock import DAY
from headrace.spark.course import Report
from in_process import Opener, deployments

CATALOG = (ROOT / "rules" / "catalog.yaml").read_text()
RULES = {
    "browsing": "{did: page_view, within: 20 seconds, resolution: 1s}",
    "spenders": "{event: purchase, sum: amount, within: 30 days, gt: 100}",
    "quiet": "{all: [{did: login}, {did_not: purchase, within: 90 days}]}",
}
BATCHES = 100
TRICKLE = 50


@dataclass(frozen=True)
class Crowd:
    """What was measured beside ``users`` who did nothing."""

    users: int
    first: float
    last: float
    files: int
    late: float

    @property
    def row(self) -> tuple[object, ...]:
        """A row of the table."""
        return (
            f"{self.users:,}",
            f"{self.first:.2f}",
            f"{self.last:.2f}",
            self.files,
            f"{self.late:.1f}",
        )


def old_events(users: int, now: int) -> Iterator[dict[str, object]]:
    """One login a user, a month ago."""
    for number in range(users):
        user = f"idle-{number:07d}"
        yield {
            "event_id": user, "user_id": user, "type": "login", "ts": now - 30 * DAY - number,
            "properties": {"method": "link"},
        }  # fmt: skip


def trickle(round_: int, now: int) -> list[dict[str, object]]:
    """A few page views of this moment."""
    return [
        {
            "event_id": f"{round_}-{i}", "user_id": f"busy-{round_ % 7}-{i}", "type": "page_view",
            "ts": now, "properties": {"page": "/"},
        }
        for i in range(TRICKLE)
    ]  # fmt: skip


def measured(opened: Opener, users: int) -> Crowd:
    """Fill, then trickle, then wait for those who leave."""
    here = opened(f"idle{users}")
    here.publish(RULES, CATALOG)
    here.send(old_events(users, _now()))
    here.lines.clear()  # a million of them; nobody asks the oracle here
    here.run(lambda report: here.counted >= here.sent)
    seconds: list[float] = []

    def feed(report: Report) -> bool:
        if report.events:
            seconds.append(sum(report.seconds.values()))
        here.send(trickle(len(here.reports), _now()))
        return len(seconds) > BATCHES

    here.send(trickle(0, _now()))
    here.run(feed)
    end = here.last.header.now
    here.run(lambda report: report.header.now > end + 30_000)
    left = here.lake.read(here.spark, "transitions").where(
        "segment = 'browsing' AND change = 'exit' AND reason = 'time'"
    )
    late = left.selectExpr("max(at - effective_at) AS late").collect()[0]["late"]
    detail = here.lake.delta(here.spark, "profiles").detail().collect()[0]
    return Crowd(
        users,
        statistics.median(seconds[10:35]),  # the first ones warm up
        statistics.median(seconds[-25:]),
        detail["numFiles"],
        late / 1_000,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    """Measure, and write a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("users", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--write", type=Path, metavar="FILE", help="A page in Markdown, too.")
    asked = parser.parse_args()
    crowds = []
    with deployments("idle") as opened:
        for users in asked.users:
            crowds.append(measured(opened, users))
            print(*crowds[-1].row, flush=True)
    if asked.write is not None:
        asked.write.write_text(page(crowds))


def page(crowds: list[Crowd]) -> str:
    """What was measured, on what, when."""
    assert __doc__ is not None
    about = " ".join(__doc__.split("\n\n", 1)[1].split())
    head = (
        "idle users", "s a batch, 10th to 35th", "s a batch, last 25 of 100",
        "files of profiles", "latest exit by time, s",
    )  # fmt: skip
    lines = [
        "# Users who do nothing",
        "",
        "Written by `make bench-idle`; do not edit.",
        "",
        f"- {circumstances()}",
        f"- **Work**: {about}",
        "",
        *table(head, [crowd.row for crowd in crowds]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
