"""Every night: delete what tables, logs and lists of runs no longer need.

Nothing is rewritten here: the stream is the one writer of its tables.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

PROJECT = Path(__file__).resolve().parents[1]

with DAG(
    "keep_tables",
    description="VACUUM, old evaluations, logs and runs",
    schedule="23 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=2),
        "cwd": str(PROJECT),
        "append_env": True,
    },
    params={"target": "local"},
    tags=["headrace"],
) as dag:
    BashOperator(
        task_id="keep",
        pool="headrace_tables",  # one job at a time writes the tables
        bash_command=(
            './spark-submit.sh jobs/keep_tables.py --target "$TARGET" --run-id "$RUN_ID"'
        ),
        env={
            "TARGET": "{{ params.target }}",
            "RUN_ID": "{{ dag.dag_id }}/{{ task.task_id }}/{{ dag_run.run_id }}",
        },
    )
