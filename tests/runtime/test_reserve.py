"""One in reserve goes on when the job dies, and never beside it."""

from __future__ import annotations

import os
import signal
import time

import psutil

from runtimes import Stage


def test_the_one_in_reserve_goes_on_and_another_waits(stage: Stage) -> None:
    stage.aim()
    watcher = stage.watch("reserve")
    first = stage.running()
    second = stage.waiting()
    assert second.id > first.id and stage.words() == ["start", "reserve"]
    died = time.monotonic()
    os.kill(stage.driver(), signal.SIGKILL)
    stage.until(lambda: stage.words().count("start") == 2)
    assert time.monotonic() - died < 2
    stage.until(lambda: [row.id for row in stage.store.live_progress("stream")] == [second.id])
    assert [row.state for row in stage.launches()] == ["failed", "running"]
    third = stage.waiting()
    assert third.id > second.id
    assert stage.end(watcher) == 0
    assert stage.words() == ["start", "reserve", "start", "reserve", "end"]
    assert stage.reserves() == [] and stage.launches()[-1].state == "stopped"


def test_none_waits_where_none_is_wanted(stage: Stage) -> None:
    stage.aim()
    stage.watch()
    stage.running()
    time.sleep(1)
    assert stage.reserves() == [] and "reserve" not in stage.words()


def test_one_in_reserve_that_died_is_replaced(stage: Stage) -> None:
    stage.aim()
    stage.watch("reserve")
    stage.running()
    first = stage.waiting()
    os.kill(int(stage.diary[-1].split()[1]), signal.SIGKILL)
    stage.until(lambda: stage.words().count("reserve") == 2)
    assert [row.state for row in stage.launches()] == ["running"]
    stage.until(lambda: [row.id > first.id for row in stage.reserves()] == [True])


def test_a_new_runtime_goes_on_with_the_job_and_ends_the_one_in_reserve(stage: Stage) -> None:
    stage.aim()
    watcher = stage.watch("reserve")
    row = stage.running()
    stage.waiting()
    driver = stage.driver()
    watcher.kill()
    watcher.wait()
    stage.watch("reserve")
    stage.until(lambda: stage.words().count("reserve") == 2)
    assert psutil.pid_exists(driver) and stage.words().count("start") == 1
    assert [one.id for one in stage.store.live_progress("stream")] == [row.id]


def test_it_goes_on_without_a_runtime_and_the_next_one_finds_it(stage: Stage) -> None:
    stage.aim()
    watcher = stage.watch("reserve")
    stage.running()
    second = stage.waiting()
    watcher.kill()
    watcher.wait()
    os.kill(stage.driver(), signal.SIGKILL)
    stage.until(lambda: stage.words().count("start") == 2)
    stage.watch("reserve")
    stage.until(lambda: [row.id for row in stage.store.live_progress("stream")] == [second.id])
    stage.until(lambda: len(stage.reserves()) == 1)
    assert stage.words().count("start") == 2
