"""The whole system, small: played, killed in the middle, and proven right."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rule_folders import segment

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--users", "300", "--events", "3000", "--rate", "60")


def demo(home: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}
    return subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", "demo", "--home", str(home), *SMALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def headrace(*words: str, home: Path) -> None:
    command = [sys.executable, "-m", "headrace.cli", "--home", str(home), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def left_over(home: Path) -> list[list[str]]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(home) in word for word in words):
            found.append(words)
    return found


def leave_as_a_demo_does(home: Path) -> None:
    """What lies there when the last demo has ended: its servers' addresses, and data."""
    (home / "run").mkdir(parents=True)
    (home / "data").mkdir()
    url = "postgresql+psycopg2://headrace:secret@127.0.0.1:1/headrace"
    notes = {
        "password": "secret", "postgres_url": url, "kafka_bootstrap": "127.0.0.1:1",
        "redis_url": "redis://:secret@127.0.0.1:1/0",
        "ports": {"postgres": 1, "kafka": 1, "redis": 1},
    }  # fmt: skip
    (home / "run" / "servers.json").write_text(json.dumps(notes))


@pytest.mark.timeout(600)
def test_a_demo_whose_rules_change_and_whose_stream_is_killed_ends_in_no_differences(
    tmp_path: Path,
) -> None:
    home, rules = tmp_path / "home", tmp_path / "rules"
    leave_as_a_demo_does(home)
    shutil.copytree(ROOT / "rules", rules)
    (rules / "segments" / "searching.yaml").write_text(
        segment("searching", "{event: search, count: true, within: 3 days, gte: 1}")
    )
    process = demo(home, "--for", "40", "--kill-stream-after", "8")
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "first membership served" in line:
            # Its history is being built, or has just been, when the job is killed.
            headrace("apply", str(rules), "--author", "test", home=home)
    assert process.wait(timeout=60) == 0, said
    assert re.search(r" closed .* searching=[1-9]", said), said
    assert "killed the streaming job" in said
    assert re.search(r"^0 differences in [1-9]\d* memberships$", said, re.MULTILINE), said
    assert re.search(r"^sent (\d+) = \1 = \d+ accepted \+ \d+ duplicates", said, re.MULTILINE), said
    assert left_over(home) == []


@pytest.mark.timeout(300)
def test_interrupting_a_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = demo(home)
    assert process.stdout is not None
    deadline = time.monotonic() + 200
    for line in process.stdout:
        if "history is sent" in line or time.monotonic() > deadline:
            break
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "nothing was compared" in said
    assert left_over(home) == []
