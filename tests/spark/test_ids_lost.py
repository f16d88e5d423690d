"""Of a user's event ids the newest 1,024 are kept; how many were let go is told."""

from __future__ import annotations

import time

import pytest

from deployment import Deployment
from headrace.engine.repeats import MOST_IDS
from headrace.spark import protocol

CATALOG = "apiVersion: headrace/v1\nkind: Catalog\nevents: {login: {}}\n"
RULES = {"regulars": "{event: login, count: true, gte: 3}"}


def logins(user: str, first: int, count: int) -> list[dict[str, object]]:
    now = time.time_ns() // 1_000_000
    return [
        {"event_id": f"e{first + one}", "user_id": user, "type": "login", "ts": now}
        for one in range(count)
    ]


def lost(deployment: Deployment) -> int:
    return sum(report.counts.ids_lost for report in deployment.reports)


def test_ids_that_compaction_or_a_rewrite_lets_go_are_counted(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.publish(RULES, CATALOG)
    deployment.send([one for user in range(2_000) for one in logins(f"u{user}", 0, 1)])
    deployment.run()
    # Fewer than there are users: their rows are appended, and compaction brings them together.
    for first in (0, 900):
        deployment.send(logins("ann", first, 900 if first == 0 else 200))
        deployment.run()
    assert lost(deployment) == 0
    monkeypatch.setattr(protocol, "COMPACT_EVERY", 1)
    for number in range(10):  # one of the two buckets each time, which one says the batch
        if not lost(deployment):
            deployment.send(logins(f"late{number}", 0, 1))
            deployment.run()
            deployment.run(lambda _: True)
    assert lost(deployment) == 1_100 - MOST_IDS
    told = deployment.metrics.text().decode()
    assert f"headrace_ids_lost_total {float(1_100 - MOST_IDS)}" in told

    # More than there are users: everybody is written anew.
    deployment.send(logins("ann", 2_000, 2_500))
    deployment.run()
    assert lost(deployment) == 1_100 - MOST_IDS + 2_500
    deployment.send(logins("ann", 4_499, 1))
    assert deployment.run().counts.duplicates == 1, "the newest are known again"
