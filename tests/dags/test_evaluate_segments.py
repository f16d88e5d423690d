"""The DAGs, as text and as Airflow itself reads them."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAGS = sorted((ROOT / "dags").glob("*.py"))
AIRFLOW = ROOT / ".airflow" / "venv" / "bin" / "python"


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.name)
def test_a_dag_imports_airflow_and_the_standard_library_only(file):
    imported = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "dags/ is no package"
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names <= {"airflow"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with our DAGs whose spark-submit.sh only notes what it was asked."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "dags", root / "dags")
    submit = root / "spark-submit.sh"
    submit.write_text('#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done > asked.txt\n')
    submit.chmod(0o755)
    return root


@pytest.fixture(scope="module")
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
    return json.loads(done.stdout.splitlines()[-1])


def test_airflow_reads_the_dag(parsed):
    assert parsed["errors"] == {}
    dag = parsed["dags"]["evaluate_segments"]
    assert dag["schedule"] == "0 * * * *"
    assert (dag["max_active_runs"], dag["catchup"]) == (1, False)
    assert all(retries > 0 for retries in dag["retries"].values())


@pytest.mark.parametrize(
    ("run", "instant", "folder"),
    [
        pytest.param("scheduled", "2026-01-02T05:00:00+00:00", "20260102T050000Z", id="scheduled"),
        pytest.param("by hand", "2026-01-02T05:07:03+00:00", "20260102T050703Z", id="by hand"),
    ],
)
def test_a_run_asks_for_its_instant_and_then_for_parity(parsed, project, run, instant, folder):
    asked = [words(project, task) for task in parsed["dags"]["evaluate_segments"]["runs"][run]]
    job = ["jobs/recompute_segments.py", "--target", "local"]
    output = f"/data/evaluations/{folder}"
    assert asked == [[*job, "--at", instant, "--output", output], job]


def words(project, task):
    """Run a rendered task and give the words that reached spark-submit.sh."""
    subprocess.run(
        ["bash", "-c", task["command"]],
        cwd=task["cwd"],
        env={"PATH": os.environ["PATH"], "HEADRACE_HOME": "/data", **task["env"]},
        check=True,
        timeout=30,
    )
    return (project / "asked.txt").read_text().splitlines()


def test_what_a_run_is_given_never_becomes_shell(parsed, project):
    task = dict(parsed["dags"]["evaluate_segments"]["runs"]["scheduled"][0])
    task["env"] = {**task["env"], "TARGET": "$(touch hacked); local"}
    assert words(project, task)[2] == "$(touch hacked); local"
    assert not (project / "hacked").exists()
