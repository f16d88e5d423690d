"""Every hour: evaluate all active segments in batch, then hold batch against the stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

PROJECT = Path(__file__).resolve().parents[1]

# A run triggered by hand may have no logical date.
INSTANT = "{{ (dag_run.logical_date or dag_run.run_after).isoformat() }}"
FOLDER = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%SZ') }}"
GIVEN = {
    "TARGET": "{{ params.target }}",
    "RUN_ID": "{{ dag.dag_id }}/{{ task.task_id }}/{{ dag_run.run_id }}",
}

with DAG(
    "evaluate_segments",
    description="Memberships at the logical instant, from the stored events, by the same kernel",
    schedule="0 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    # The stream keeps memberships current; hours missed while Airflow was down need no run.
    catchup=False,
    # Two Spark drivers beside the stream would take its memory.
    max_active_runs=1,
    max_active_tasks=1,
    dagrun_timeout=timedelta(hours=2),
    default_args={
        # What was done under a run's id is not done again, so a repeat harms nothing.
        "retries": 2,
        "retry_delay": timedelta(minutes=2),
        "execution_timeout": timedelta(minutes=45),
        "cwd": str(PROJECT),
        "append_env": True,
        "pool": "headrace_tables",  # one job at a time writes the tables
    },
    params={"target": "local"},
    tags=["headrace"],
) as dag:
    # Values reach the shell as variables, never as text of the command.
    at_instant = BashOperator(
        task_id="at_instant",
        bash_command=(
            './spark-submit.sh jobs/recompute_segments.py --target "$TARGET"'
            ' --at "$INSTANT" --output "${HEADRACE_HOME:-.headrace}/evaluations/$FOLDER"'
            ' --run-id "$RUN_ID"'
        ),
        env={**GIVEN, "INSTANT": INSTANT, "FOLDER": FOLDER},
    )
    # Without an instant the job takes the newest batch's and fails when the two disagree.
    against_stream = BashOperator(
        task_id="against_stream",
        bash_command=(
            './spark-submit.sh jobs/recompute_segments.py --target "$TARGET" --run-id "$RUN_ID"'
        ),
        env=GIVEN,
    )
    at_instant >> against_stream
