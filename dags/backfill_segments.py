"""By hand: evaluate segments at past instants, from the events stored, one instant at a time.

Their members go where those of scheduled evaluations are: into the table `batch_members`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, task

PROJECT = Path(__file__).resolve().parents[1]
MOST = 1000  # Airflow makes at most 1,024 tasks of one

with DAG(
    "backfill_segments",
    description="Members at instants from FIRST to LAST, EVERY so many minutes",
    schedule=None,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=2),
        "execution_timeout": timedelta(minutes=45),
    },
    params={
        "first": Param(type="string", format="date-time", description="The earliest instant"),
        "last": Param(type="string", format="date-time", description="The latest instant"),
        "every": Param(1440, type="integer", minimum=1, description="Minutes between two"),
        "segments": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"},
            description="Their ids; none: all active ones",
        ),
        "target": Param("local", type="string", description="Settings: conf/TARGET.toml"),
    },
    tags=["headrace"],
) as dag:

    @task
    def instants(params: dict, run_id: str) -> list[dict[str, str]]:
        """What the evaluation of each instant is told."""
        first, last = (datetime.fromisoformat(params[name]) for name in ("first", "last"))
        step = timedelta(minutes=params["every"])
        count = (last - first) // step + 1
        if not 1 <= count <= MOST:
            raise ValueError(
                f"{params['first']} to {params['last']} every {params['every']} minutes"
                f" are {max(count, 0)} instants, not 1 to {MOST}"
            )
        found = []
        for number in range(count):
            at = (first + number * step).astimezone(UTC).isoformat()
            found.append(
                {
                    "TARGET": params["target"],
                    "INSTANT": at,
                    "SEGMENTS": " ".join(params["segments"]),
                    "RUN_ID": f"backfill_segments/{run_id}/{at}",
                }
            )
        return found

    BashOperator.partial(
        task_id="evaluate",
        pool="headrace_tables",  # one job at a time writes the tables
        cwd=str(PROJECT),
        append_env=True,
        # Ids of segments hold no character that a shell takes for anything else.
        bash_command=(
            './spark-submit.sh jobs/recompute_segments.py --target "$TARGET" --at "$INSTANT"'
            ' --keep --run-id "$RUN_ID" --segments $SEGMENTS'
        ),
    ).expand(env=instants())
