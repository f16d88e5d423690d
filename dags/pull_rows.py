"""Every five minutes: the rows that changed in databases without a readable log.

Which tables those are, the active streams with a watermark say; without any this costs a question.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

PROJECT = Path(__file__).resolve().parents[1]

with DAG(
    "pull_rows",
    description="Tables by their watermarks, to the topics of their streams",
    schedule="*/5 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(minutes=30),
        "cwd": str(PROJECT),
        "append_env": True,
    },
    params={"target": "local"},
    tags=["headrace"],
) as dag:
    BashOperator(
        task_id="pull",
        # It writes no table, but one more Spark at a time is enough for one machine.
        pool="headrace_tables",
        bash_command='./spark-submit.sh jobs/pull_rows.py --target "$TARGET" --run-id "$RUN_ID"',
        env={
            "TARGET": "{{ params.target }}",
            "RUN_ID": "{{ dag.dag_id }}/{{ task.task_id }}/{{ dag_run.run_id }}",
        },
    )
