"""A project with our DAGs, what Airflow makes of them, and what their tasks would run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW = ROOT / ".airflow" / "venv" / "bin" / "python"

SCHEDULES = {
    "big": "continuous",
    "buyers": "0 3 * * 1",
    "often": "*/15 8-18 * * 1,3",
    "weekly": "0 3 * * 1",
}


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A project with our DAGs whose programs only note what they were asked."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "dags", root / "dags")
    (root / ".venv/bin").mkdir(parents=True)
    for program in ("spark-submit.sh", ".venv/bin/headrace"):
        (root / program).write_text(
            '#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done > asked.txt\n'
        )
        (root / program).chmod(0o755)
    (root / ".headrace").mkdir()
    (root / ".headrace/schedules.json").write_text(json.dumps(SCHEDULES))
    return root


@pytest.fixture(scope="session")
def parsed(project):
    """What Airflow makes of the DAGs."""
    if not AIRFLOW.exists():
        pytest.skip("no Airflow in .airflow/venv: `make airflow` installs it")
    done = subprocess.run(
        [
            str(AIRFLOW),
            str(Path(__file__).with_name("probe_dag.py")),
            str(project / "dags"),
        ],
        env={
            "PATH": os.environ["PATH"],
            "AIRFLOW_HOME": str(project / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,  # the next line shows what it said
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == {}
    return found["dags"]


@pytest.fixture(scope="session")
def words(project):
    """Runs a rendered task and gives the words that reached the program it starts."""

    def run(task):
        subprocess.run(
            ["bash", "-c", task["command"]],
            cwd=task["cwd"],
            env={"PATH": os.environ["PATH"], "HEADRACE_HOME": "/data", **task["env"]},
            check=True,
            timeout=30,
        )
        return (project / "asked.txt").read_text().splitlines()

    return run
