"""Processes end by their exit codes, and a log that cannot be written ends none of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headrace.jobs.process import LogFile

BEGIN = "import structlog; from headrace.jobs.process import run_process; "
SPEAKING = "structlog.get_logger().info('a line') or structlog.get_logger().info('another')"


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        pytest.param(f"lambda: {SPEAKING}", 0, '"event": "another"', id="well"),
        pytest.param("lambda: print('half of it') or 1 / 0", 2, "ZeroDivisionError", id="a crash"),
        pytest.param("refuse", 1, "the disk is full [HR900]", id="a refusal"),
    ],
)
def test_the_exit_code_does_not_hang_on_the_log(work: str, code: int, said: str) -> None:
    refuse = (
        "\ndef refuse():\n    from headrace.errors import OperatorError\n"
        "    raise OperatorError('the disk is full')\n"
    )
    words = [sys.executable, "-c", f"{BEGIN}{refuse}run_process({work})"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert ("half of it" in done.stdout) == ("half of it" in work)
    with open("/dev/full", "w") as full:  # noqa: PTH123  a device: every write finds it full
        assert subprocess.run(words, stderr=full, check=False).returncode == code


def test_a_log_says_how_many_of_its_lines_were_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    log, write = LogFile(writer), os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    log.write("one\n")
    monkeypatch.setattr(os, "write", full)
    log.write("two\n")
    log.write("three\n")
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    log.write("four\n")
    log.write("five\n")
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = '{"event": "log lines were lost", "count": 2}'
        assert pipe.read().splitlines() == ["one", told, "four", "five"]
