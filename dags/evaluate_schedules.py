"""Segments with a cron line: one DAG for each line, which evaluates exactly its segments.

This file is read every half a minute, so it neither asks Postgres nor imports Headrace: it reads
`schedules.json`, which the DAG `refresh_schedules` keeps equal to the active rules. A new line
has its DAG within minutes; while Postgres is away, the DAGs stay as they are. The file lies
beside Headrace's other data, which the machines that run these tasks share like this folder.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset

PROJECT = Path(__file__).resolve().parents[1]
SCHEDULES = PROJECT / os.environ.get("HEADRACE_HOME", ".headrace") / "schedules.json"

DEFAULTS = {
    "retries": 2,
    "retry_delay": timedelta(minutes=2),
    "execution_timeout": timedelta(minutes=45),
    "cwd": str(PROJECT),
    "append_env": True,
}
EVERY = {"start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "max_active_runs": 1}


def dag_id(line: str) -> str:
    """A name for a cron line, which holds characters that no DAG's name may: 0 3 * * 1, */5."""
    spelled = {" ": "_", "*": "x", "/": "by", ",": "."}
    return "evaluate_" + "".join(spelled.get(letter, letter) for letter in line)


def lines() -> dict[str, list[str]]:
    """The segments of each cron line; none before schedules were first written."""
    found = defaultdict(list)
    if SCHEDULES.exists():
        for segment, refresh in json.loads(SCHEDULES.read_text()).items():
            if refresh != "continuous":
                found[refresh].append(segment)
    return found


with DAG(
    "refresh_schedules",
    description="The active segments' cron lines, for the DAGs that are made of them",
    schedule="*/5 * * * *",
    default_args=DEFAULTS,
    params={"target": "local"},
    tags=["headrace"],
    **EVERY,
):
    BashOperator(
        task_id="refresh",
        bash_command='.venv/bin/headrace --target "$TARGET" schedules --write "$SCHEDULES"',
        env={"TARGET": "{{ params.target }}", "SCHEDULES": str(SCHEDULES)},
    )

for line, segments in lines().items():
    with DAG(
        dag_id(line),
        description=f"Members of {', '.join(segments)} at the logical instant",
        schedule=line,
        default_args=DEFAULTS,
        params={"target": "local"},
        tags=["headrace", "segments"],
        **EVERY,
    ):
        BashOperator(
            task_id="evaluate",
            # One job at a time writes the tables.
            pool="headrace_tables",
            # Ids of segments hold no character that a shell takes for anything else.
            bash_command=(
                './spark-submit.sh jobs/recompute_segments.py --target "$TARGET" --at "$INSTANT"'
                ' --keep --run-id "$RUN_ID" --segments $SEGMENTS'
            ),
            env={
                "TARGET": "{{ params.target }}",
                "SEGMENTS": " ".join(segments),
                # A run triggered by hand may have no logical date.
                "INSTANT": "{{ (dag_run.logical_date or dag_run.run_after).isoformat() }}",
                "RUN_ID": "{{ dag.dag_id }}/{{ task.task_id }}/{{ dag_run.run_id }}",
            },
            outlets=[Asset(f"headrace://segments/{segment}") for segment in segments],
        )
