"""Runs that people start are rows of progress, and need no Postgres."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from headrace.jobs.by_hand import noted
from headrace.settings import Settings
from headrace.store import Store


def test_a_run_is_told_from_its_begin_to_its_end(settings: Settings) -> None:
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    with noted(settings, "list", {"list": "vip"}) as note:
        (row,) = store.live_progress("list", kind="list")
        assert row.state == "running" and row.details["list"] == "vip"
        note({"on": 5})
    (row,) = store.progress("list", kind="list", limit=5)
    assert (row.state, row.details["on"]) == ("done", 5)
    with pytest.raises(ValueError, match="no"), noted(settings, "list", {}):
        raise ValueError("no")
    assert store.progress("list", kind="list", limit=1)[0].state == "failed"
    store.close()


def test_one_that_was_killed_is_closed_by_the_next(settings: Settings) -> None:
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    store.migrate()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for host in (socket.gethostname(), "elsewhere"):
        row = store.begin_progress("replay", "replay")
        store.started(row, pid=gone.pid, details={"host": host})
    with noted(settings, "replay", {}):
        pass
    states = [row.state for row in store.progress("replay", kind="replay", limit=5)]
    assert states == ["done", "running", "lost"], "of the one elsewhere nobody here knows"
    store.close()


@pytest.mark.parametrize("url", ["", "postgresql+psycopg2://h:p@127.0.0.1:9/x"])
def test_without_postgres_a_run_goes_on(settings: Settings, url: str) -> None:
    away = settings.model_copy(update={"postgres_url": type(settings.postgres_url)(url)})
    with noted(away, "list", {}) as note:
        note({"on": 1})
