"""Every command of the README, in its order, in a project of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(language, text) for language, text in FENCED.findall(README)]
COMMANDS = [text for language, text in BLOCKS if language == "bash"]
API, EVENTS = "http://127.0.0.1:8080", "http://127.0.0.1:8081"

# What the memberships need, from the event in Kafka to Redis, a cold Spark included.
SOON = 180


@dataclass(frozen=True)
class Project:
    """A folder like the repository, whose .headrace is its own."""

    root: Path

    def run(self, script, timeout=300):
        """Run the lines of one block as a reader would, stopping at the first that fails."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.adapted(script)],
            cwd=self.root,
            env={**os.environ, "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,  # the test shows both outputs
        )

    def adapted(self, script):
        """The same commands, for this machine: our folder and port, and make only pretends."""
        script = script.replace("/tmp/", f"{self.root}/").replace(API, self.api())
        script = script.replace(EVENTS, self.address("ingest.port", EVENTS))
        script = script.replace("curl -s ", "curl -sS --fail-with-body ")
        return re.sub(r"^make ", "make --dry-run ", script, flags=re.MULTILINE)

    def api(self):
        """Where `headrace up` put the API."""
        return self.address("api_port", API)

    def address(self, setting, usual):
        """Where `headrace up` put what listens on the port of ``setting``."""
        try:
            notes = json.loads((self.root / ".headrace/run/servers.json").read_text())
        except FileNotFoundError:
            return usual
        return f"http://127.0.0.1:{notes[setting]}" if setting in notes else usual

    def segments_of(self, user):
        """What the API says of a user, be it that there is no such user yet."""
        asked = ["curl", "-sS", "--max-time", "5", f"{self.api()}/v1/users/{user}/segments"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("readme")
    for folder in ("rules", "conf"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ("Makefile", "setup.sh", "spark-submit.sh", "jobs", "serving", "src", "uv.lock"):
        (root / name).symlink_to(ROOT / name)
    rule = next(text for language, text in BLOCKS if language == "yaml")
    (root / "rules/segments/big_spenders.yaml").write_text(rule)
    place = Project(root)
    yield place
    place.run("headrace down")


def name(block):
    return next(line for line in block.splitlines() if line)[:60]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", COMMANDS, ids=name)
def test_the_commands_work(project, block):
    if "/v1/users/ann" in block:
        until = time.monotonic() + SOON
        while "big_spenders" not in (answer := project.segments_of("ann")):
            assert time.monotonic() < until, answer
            time.sleep(1)
    done = project.run(block)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for sign in EXPECTED:
        if sign in block:
            assert re.search(EXPECTED[sign], done.stdout), done.stdout


# What a reader is promised to see.
EXPECTED = {
    "catalog infer": r"order:\n\s+properties: \{total: \{type: decimal\}\}",
    "headrace status": r"(?m)^stream +idle .*headrace apply",
    "headrace validate": r"26 segments, no errors",
    "--engine spark": r"(?s)^(segment,user_id\n.*big_spenders,ann\n.*)\1\1$",
    "--explain ann": r"ann is in big_spenders",
    "headrace versions": r"(?m)^1\s+retired.*\n2\s+active.*one more week$",
    "/v1/segments/big_ticket/members": r"ann",
    "/v1/users/ann/profile": r'"identities":\["ann"\]',
    "/v1/users/ann/timeline": r'"kind":"event"',
    "headrace export": r'"user_id":"ann"',
    "streams add": r'"user_id":"7"(?s:.*)\nshop_orders +(?:starting|active)',
    "keys add": r'"user_id":"ann"(?s:.*)\ncheckout +hrk_',
    "sources add": r'"kept":"kafka","accepted":1(?s:.*)\nshop +hrw_',
    "recompute_segments.py": r"(?m)^0 differences in",
    "headrace forget": r"(?m)^genuine +true$",
}


def test_the_project_is_left_as_found(project):
    left = subprocess.run(
        ["pgrep", "-f", str(project.root)], capture_output=True, text=True, check=False
    )
    assert left.stdout == ""


@pytest.mark.parametrize(
    "path",
    sorted(
        set(
            re.findall(r"`((?:docs|dags|notebooks|serving|jobs|rules|tests|src)/[\w./-]+)`", README)
        )
    ),
)
def test_what_it_points_to_exists(path):
    assert (ROOT / path).exists() or path == "rules/segments/big_spenders.yaml"
