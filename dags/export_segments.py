"""Export segments to files: those just evaluated by a cron line, or by hand any that are named.

Each evaluation of a segment updates its asset, headrace://segments/ID. This DAG waits for those
of the segments that a schedule evaluates; so may any other DAG.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset, AssetAny, Param, task

PROJECT = Path(__file__).resolve().parents[1]
HOME = PROJECT / os.environ.get("HEADRACE_HOME", ".headrace")
SCHEDULES = HOME / "schedules.json"  # see evaluate_schedules.py
ASSET = "headrace://segments/"


def evaluated() -> list[Asset]:
    """The assets of the segments that have a cron line."""
    if not SCHEDULES.exists():
        return []
    active = json.loads(SCHEDULES.read_text())
    return [Asset(ASSET + id) for id, refresh in active.items() if refresh != "continuous"]


with DAG(
    "export_segments",
    description="Members with their traits, as CSV or Parquet",
    schedule=AssetAny(*assets) if (assets := evaluated()) else None,
    # Members leave Headrace here: somebody has to want it first.
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=2),
        "execution_timeout": timedelta(minutes=45),
    },
    params={
        "segments": Param(
            [],
            type="array",
            items={"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"},
            description="Their ids; none: those whose evaluation started this run",
        ),
        "format": Param("csv", enum=["csv", "parquet"]),
        "folder": Param(str(HOME / "exports"), type="string", description="Folder or URL"),
        "target": Param("local", type="string", description="Settings: conf/TARGET.toml"),
    },
    tags=["headrace", "segments"],
) as dag:

    @task
    def segments(params: dict, run_id: str, triggering_asset_events: dict) -> list[dict[str, str]]:
        """What the export of each segment is told."""
        named = params["segments"] or [
            asset.uri.removeprefix(ASSET) for asset in triggering_asset_events
        ]
        return [
            {
                "TARGET": params["target"],
                "SEGMENT": segment,
                "FORMAT": params["format"],
                "OUTPUT": f"{params['folder']}/{segment}",
                "RUN_ID": f"export_segments/{run_id}/{segment}",
            }
            for segment in sorted(named)
        ]

    BashOperator.partial(
        task_id="export",
        pool="headrace_tables",
        cwd=str(PROJECT),
        append_env=True,
        bash_command=(
            './spark-submit.sh jobs/export_segment.py --target "$TARGET" --segment "$SEGMENT"'
            ' --format "$FORMAT" --output "$OUTPUT" --run-id "$RUN_ID"'
        ),
    ).expand(env=segments())
