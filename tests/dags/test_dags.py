"""What holds of every DAG."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

DAGS = sorted((Path(__file__).resolve().parents[2] / "dags").glob("*.py"))
# They read or write nothing of Headrace's tables.
ELSEWHERE = {"refresh", "instants", "segments"}


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


def test_every_task_is_tried_again_and_waits_for_its_turn(parsed):
    for name, dag in parsed.items():
        assert all(retries > 0 for retries in dag["retries"].values()), name
        for task, pool in dag["pools"].items():
            assert pool == ("default_pool" if task in ELSEWHERE else "headrace_tables"), name


def test_upkeep_is_nightly_and_done_once_for_each_run(parsed, words):
    dag = parsed["keep_tables"]
    assert dag["schedule"] == "23 3 * * *"
    [task] = dag["runs"]["scheduled"]
    assert words(task) == [
        "jobs/keep_tables.py", "--target", "local", "--run-id", "keep_tables/keep/s1",
    ]  # fmt: skip


def test_tables_without_a_log_are_read_every_five_minutes_and_once_for_each_run(parsed, words):
    dag = parsed["pull_rows"]
    assert dag["schedule"] == "*/5 * * * *"
    [task] = dag["runs"]["scheduled"]
    assert words(task) == [
        "jobs/pull_rows.py", "--target", "local", "--run-id", "pull_rows/pull/s1",
    ]  # fmt: skip
