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
    "scheduled": SimpleNamespace(logical_date=LOGICAL, run_after=LOGICAL),
    "by hand": SimpleNamespace(logical_date=None, run_after=BY_HAND),
}

bag = DagBag(dag_folder=sys.argv[1], collect_dags=True)
found = {"errors": bag.import_errors, "dags": {}}
for dag in bag.dags.values():
    runs = {}
    for name, run in RUNS.items():
        runs[name] = []
        for task in dag.topological_sort():
            task = task.prepare_for_execution()
            task.render_template_fields({"dag_run": run, "params": dict(dag.params), "dag": dag})
            runs[name].append({"command": task.bash_command, "env": task.env, "cwd": task.cwd})
    found["dags"][dag.dag_id] = {
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "schedule": dag.timetable.expression,
        "retries": {task.task_id: task.retries for task in dag.tasks},
        "runs": runs,
    }
print(json.dumps(found))
