"""Children: found again, ended with all they started, and never mistaken for somebody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from headrace.embedded.children import Children
from headrace.errors import OperatorError

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

# Starts a child in a session of its own, as a watcher starts a Spark driver; says its pid.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {code!r}], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"


def said_pid(log: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if log.exists() and log.read_text().strip():
            return int(log.read_text().split()[0])
        time.sleep(0.02)
    raise AssertionError("the child said nothing")


def test_a_child_is_known_to_another_command(tmp_path: Path) -> None:
    record, _ = Children(tmp_path).start("one", SLEEP)
    again = Children(tmp_path)
    assert again.alive("one") == record
    assert again.stop("one")
    assert again.alive("one") is None
    assert not again.stop("one")


def test_a_clock_that_was_set_does_not_make_a_child_somebody_else(tmp_path: Path) -> None:
    children = Children(tmp_path)
    record, process = children.start("one", SLEEP)
    file = tmp_path / "run" / "one.json"
    file.write_text(json.dumps({**asdict(record), "started": record.started - 300}))
    assert children.alive("one") is not None
    file.write_text(json.dumps({**asdict(record), "birth": record.birth + "0"}))
    assert children.alive("one") is None
    file.write_text(json.dumps(asdict(record)))
    assert children.stop("one")
    process.wait()


def test_a_pid_given_to_somebody_else_is_not_ours(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP)
    try:
        children = Children(tmp_path)
        children.start("one", SLEEP)
        children.stop("one")
        (tmp_path / "run" / "one.json").write_text(
            json.dumps(
                {
                    "name": "one",
                    "pid": stranger.pid,
                    "started": time.time() - 3_600,
                    "token": "0" * 16,
                    "log": "",
                }
            )
        )
        assert children.alive("one") is None
        assert not children.stop("one")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("first_killed", [False, True], ids=["parent alive", "parent killed"])
def test_what_a_child_started_ends_with_it(tmp_path: Path, first_killed: bool) -> None:
    children = Children(tmp_path)
    record, process = children.start("one", [sys.executable, "-c", PARENT.format(code=STUBBORN)])
    grandchild = said_pid(children.log_file("one"))
    if first_killed:
        os.kill(record.pid, signal.SIGKILL)
        process.wait()
    assert children.stop("one", patience=1)
    process.wait()
    assert not psutil.pid_exists(grandchild) or not psutil.Process(grandchild).is_running()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_broken_record_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "one.json").write_text(text)
    assert Children(tmp_path).alive("one") is None


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"cannot start one: /no/such"):
        Children(tmp_path).start("one", ["/no/such"])


def test_records_are_private(tmp_path: Path) -> None:
    children = Children(tmp_path)
    children.start("one", SLEEP)
    children.stop("one")
    children.start("one", SLEEP)
    try:
        assert (tmp_path / "run").stat().st_mode & 0o077 == 0
        assert (tmp_path / "run" / "one.json").stat().st_mode & 0o077 == 0
    finally:
        children.stop("one")
