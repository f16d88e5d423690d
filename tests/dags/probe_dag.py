"""Run by Airflow's own Python: parse a folder of DAGs, render each task, print all as JSON."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

from airflow.dag_processing.dagbag import DagBag

LOGICAL = datetime(2026, 1, 2, 5, tzinfo=UTC)
BY_HAND = datetime(2026, 1, 2, 5, 7, 3, tzinfo=UTC)
RUNS = {
    "scheduled": SimpleNamespace(logical_date=LOGICAL, run_after=LOGICAL, run_id="s1"),
    "by hand": SimpleNamespace(logical_date=None, run_after=BY_HAND, run_id="h1"),
}


def rendered(task, run):
    task = task.prepare_for_execution()
    context = {"dag_run": run, "params": dict(task.dag.params), "dag": task.dag, "task": task}
    task.render_template_fields(context)
    return {"command": task.bash_command, "env": task.env, "cwd": task.cwd}


bag = DagBag(dag_folder=sys.argv[1], collect_dags=True)
found = {"errors": bag.import_errors, "dags": {}}
for dag in bag.dags.values():
    shell = [
        task
        for task in dag.topological_sort()
        if task.task_type == "BashOperator" and not task.is_mapped
    ]
    found["dags"][dag.dag_id] = {
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "schedule": getattr(dag.timetable, "expression", None),
        "retries": {task.task_id: task.retries for task in dag.tasks},
        "pools": {task.task_id: task.pool for task in dag.tasks},
        "outlets": sorted(outlet.uri for task in dag.tasks for outlet in task.outlets),
        "runs": {name: [rendered(task, run) for task in shell] for name, run in RUNS.items()},
    }
print(json.dumps(found))
