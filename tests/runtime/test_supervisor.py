"""The runtime keeps one streaming job running, come what may."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from itertools import pairwise

import psutil
import pytest

from headrace.runtime.supervisor import Supervisor
from headrace.runtime.writer import Writers
from runtimes import QUICK, Stage

HOUR = timedelta(hours=1)


def test_launches_when_there_is_a_plan_and_ends_cleanly(stage: Stage) -> None:
    watcher = stage.watch()
    stage.until(lambda: stage.store.lease_holder("stream") is not None)
    assert stage.launches() == [], "nothing to run yet"
    stage.aim()
    row = stage.running()
    assert row.pid is not None and psutil.pid_exists(row.pid)
    assert row.plan_hash == stage.store.target_hash("stream")
    assert row.log_path == str(stage.home / "logs" / f"stream-{row.id}.log")
    assert stage.end(watcher) == 0
    assert stage.words() == ["start", "end"], "the driver was asked, not killed"
    [row] = stage.launches()
    assert (row.state, row.exit_code) == ("stopped", 0)
    assert stage.store.lease_holder("stream") is None


def test_a_stubborn_job_is_killed(stage: Stage) -> None:
    stage.behave("stubborn")
    stage.aim()
    watcher = stage.watch()
    stage.running()
    driver = stage.driver()
    assert stage.end(watcher) == 0
    assert not psutil.pid_exists(driver)
    assert stage.launches()[0].state == "stopped"


def test_relaunches_after_crashes_and_says_when_it_keeps_failing(stage: Stage) -> None:
    stage.behave("crash")
    stage.aim()
    stage.watch()
    stage.until(lambda: len([r for r in stage.launches() if r.state == "failing"]) >= 2)
    states = [row.state for row in stage.launches()]
    assert states[:4] == ["failed", "failed", "failing", "failing"]
    assert {row.exit_code for row in stage.launches() if row.ended_at} == {7}
    begun = [row.started_at for row in stage.launches()]
    gaps = [(b - a).total_seconds() for a, b in pairwise(begun)]
    assert gaps[0] >= 0.1 and gaps[1] >= 0.2 and gaps[2] >= 0.6
    stage.behave("work")
    stage.running()


def test_a_killed_driver_is_replaced(stage: Stage) -> None:
    stage.aim()
    stage.watch()
    stage.running()
    os.kill(stage.driver(), signal.SIGKILL)
    stage.until(lambda: stage.words().count("start") == 2)
    assert stage.launches()[0].state == "failed"


def test_a_driver_whose_launcher_was_killed_is_ended_first(stage: Stage) -> None:
    stage.aim()
    stage.watch()
    row = stage.running()
    orphan = stage.driver()
    assert row.pid is not None
    os.kill(row.pid, signal.SIGKILL)
    stage.until(lambda: stage.words().count("start") == 2)
    assert not psutil.pid_exists(orphan)
    assert stage.launches()[0].exit_code == -9


def test_of_two_runtimes_one_acts_and_the_other_goes_on_with_its_job(stage: Stage) -> None:
    stage.aim()
    stage.watch()
    stage.watch()
    row = stage.running()
    time.sleep(1.5)
    assert len(stage.launches()) == 1
    holder = stage.store.lease_holder("stream")
    assert holder is not None
    acting = next(w for w in stage.watchers if str(w.pid) == holder.split("/")[1])
    acting.kill()
    stage.until(lambda: stage.store.lease_holder("stream") not in (None, holder))
    time.sleep(0.5)
    assert stage.words() == ["start"], "the same driver still writes"
    assert [r.state for r in stage.launches()] == ["running"]
    assert row.pid is not None
    os.kill(row.pid, signal.SIGKILL)
    stage.until(lambda: stage.words().count("start") == 2)
    assert [r.state for r in stage.launches()] == ["failed", "running"]


def test_an_orphan_that_died_meanwhile_counts_as_lost(stage: Stage) -> None:
    stage.aim()
    first = stage.watch()
    row = stage.running()
    first.kill()
    first.wait()
    assert row.pid is not None
    os.kill(row.pid, signal.SIGKILL)
    os.kill(stage.driver(), signal.SIGKILL)
    stage.watch()
    stage.until(lambda: stage.words().count("start") == 2)
    assert [r.state for r in stage.launches()] == ["lost", "running"]


def test_a_pid_that_now_belongs_to_another_is_left_alone(stage: Stage) -> None:
    stage.aim()
    first = stage.watch()
    row = stage.running()
    first.kill()
    first.wait()
    record = stage.home / "run" / f"stream-{row.id}.json"
    # As after a reboot: the recorded pid exists (it is ours), but it started at another time.
    record.write_text(record.read_text().replace(f'"pid": {row.pid}', f'"pid": {os.getpid()}'))
    stage.watch()
    stage.until(lambda: stage.words().count("start") == 2)
    assert [r.state for r in stage.launches()] == ["lost", "running"]


def test_a_lost_lease_ends_the_job(stage: Stage) -> None:
    stage.aim()
    watcher = stage.watch()
    stage.running()
    holder = stage.store.lease_holder("stream")
    assert holder is not None
    stage.store.release_lease("stream", holder)
    assert stage.store.take_lease("stream", "elsewhere/1/x", HOUR) is not None
    stage.until(lambda: stage.words() == ["start", "end"])
    time.sleep(0.5)
    assert [r.state for r in stage.launches()] == ["stopped"]
    assert watcher.poll() is None, "it waits for the lease"
    stage.store.release_lease("stream", "elsewhere/1/x")
    stage.until(lambda: stage.words().count("start") == 2)


def test_a_lease_from_another_machine_is_waited_out(stage: Stage) -> None:
    assert stage.store.take_lease("stream", "elsewhere/1/x", timedelta(0)) is not None
    stage.aim()
    stage.watch()
    stage.until(lambda: stage.store.lease_holder("stream") not in (None, "elsewhere/1/x"))
    time.sleep(1.0)
    assert stage.launches() == [], "its job may still be ending"


def test_launches_and_crashes_are_counted(stage: Stage) -> None:
    stage.aim()
    supervisor = Supervisor(
        store=stage.store,
        writers=Writers(stage.home, patience=1.0),
        command=(["/bin/sh", "-c", "exit 7"], stage.folder),
        timings=QUICK,
    )
    supervisor.step()
    stage.until(lambda: supervisor.writer is not None and not supervisor.writer.is_alive)
    supervisor.watch()
    told = supervisor.metrics.text().decode().splitlines()
    assert {"headrace_launches_total 1.0", "headrace_crashes_total 1.0"} <= set(told)


@pytest.mark.parametrize("reason", ["missing", "not executable"])
def test_a_launcher_that_cannot_start_is_a_failed_launch(stage: Stage, reason: str) -> None:
    stage.aim()
    file = stage.folder / "submit"
    if reason != "missing":
        file.write_text("")
    supervisor = Supervisor(
        store=stage.store,
        writers=Writers(stage.home, patience=1.0),
        command=([str(file)], stage.folder),
        timings=QUICK,
    )
    with pytest.raises(Exception, match="cannot start stream-1"):
        supervisor.step()
    supervisor.tell()
    assert [row.state for row in stage.launches()] == ["failed"]
