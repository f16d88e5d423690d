"""Postgres goes away under a running job, comes back, or says nothing at all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from databases import fresh_database
from headrace import embedded
from headrace.embedded import Servers
from headrace.embedded.children import Children
from headrace.settings import Settings
from runtimes import Stage, staged


class Postgres:
    """A Postgres of this test's own, to be stopped and started."""

    def __init__(self, home: Path) -> None:
        self._home = home
        # Elsewhere by setting: only Postgres is started.
        self._settings = Settings(
            home=home, kafka_bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1"
        )

    def up(self) -> Servers:
        return embedded.up(self._home, self._settings)

    def down(self) -> None:
        embedded.down(self._home)

    def signal(self, number: int) -> None:
        record = Children(self._home).record("postgres")
        assert record is not None
        server = psutil.Process(record.pid)
        for process in [server, *server.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # its workers come and go
                process.send_signal(number)


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "server")
    yield server
    server.signal(signal.SIGCONT)
    server.down()


@pytest.fixture
def stage(postgres: Postgres, tmp_path: Path) -> Iterator[Stage]:
    url = fresh_database(postgres.up())
    with staged(tmp_path, url) as ready:
        yield ready


def test_the_job_runs_on_and_its_end_is_told_later(stage: Stage, postgres: Postgres) -> None:
    stage.aim()
    stage.watch()
    stage.running()
    stage.watch()
    postgres.down()
    time.sleep(3.0)  # longer than the lease
    assert stage.words() == ["start"] and psutil.pid_exists(stage.driver())
    os.kill(stage.driver(), signal.SIGKILL)
    time.sleep(1.5)
    assert stage.words() == ["start"], "nobody launches without a lease"
    postgres.up()
    stage.until(lambda: stage.words().count("start") == 2)
    stage.until(
        lambda: (
            [row.state for row in stage.launches()] in (["failed", "running"], ["lost", "running"])
        )
    )


def test_a_short_outage_changes_nothing(stage: Stage, postgres: Postgres) -> None:
    stage.aim()
    stage.watch()
    stage.running()
    holder = stage.store.lease_holder("stream")
    postgres.down()
    time.sleep(1.5)
    postgres.up()
    stage.until(lambda: stage.store.lease_holder("stream") == holder)
    assert stage.words() == ["start"]
    assert [row.state for row in stage.launches()] == ["running"]


def test_a_hanging_postgres_does_not_keep_the_job_alive(stage: Stage, postgres: Postgres) -> None:
    stage.aim()
    watcher = stage.watch()
    stage.running()
    postgres.signal(signal.SIGSTOP)
    time.sleep(1.0)
    assert stage.words() == ["start"]
    assert stage.end(watcher) == 0
    assert stage.words() == ["start", "end"]
    postgres.signal(signal.SIGCONT)
