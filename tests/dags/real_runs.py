"""The DAGs run by Airflow for real, and jobs killed, cleared and doubled: `make airflow-test`.

Minutes, most of them Airflow and Spark that start: too long for every `make test`, which holds the
same promises by tests/jobs and tests/spark/test_batch_jobs.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from databases import drop_database, fresh_database
from deployment import Deployment
from headrace.embedded import Servers
from headrace.embedded.jars import spark_jars
from headrace.settings import Settings
from headrace.spark.session import open_session
from headrace.store import Progress
from rule_folders import CATALOG, spenders

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW = ROOT / ".airflow" / "venv" / "bin" / "airflow"


@pytest.fixture(scope="module")
def deployment(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment whose stream has run; its Spark is gone, the machine is the jobs'."""
    spark = open_session(
        "headrace-tests", master="local[2]", jars=[str(jar) for jar in spark_jars()]
    )
    url, folder = fresh_database(servers), tmp_path_factory.mktemp("project")
    settings = Settings(
        home=folder / "home",
        namespace=f"t{uuid.uuid4().hex[:8]}",
        postgres_url=url,
        kafka_bootstrap=servers.kafka_bootstrap,
        redis_url=servers.redis_url,
        stream={"trigger_ms": 500, "buckets": 2},
    )
    with Deployment.opened(spark, settings, folder / "rules") as opened:
        weekly = "{segment: big}\n  refresh: 0 3 * * 1"
        opened.publish({"big": spenders(20), "weekly": weekly}, CATALOG)
        now = time.time_ns() // 1_000_000
        opened.send(
            {"event_id": f"e{n}", "user_id": f"u{n}", "type": "purchase", "ts": now,
             "properties": {"amount": n}} for n in range(100)
        )  # fmt: skip
        opened.run()
        spark.stop()
        yield opened
    drop_database(servers, url)


@pytest.fixture(scope="module")
def env(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    settings = deployment.settings
    return {
        **os.environ,
        "HEADRACE_HOME": str(settings.home),
        "HEADRACE_NAMESPACE": settings.namespace,
        "HEADRACE_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "HEADRACE_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "HEADRACE_REDIS_URL": settings.redis_url.get_secret_value(),
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


@pytest.fixture(scope="module")
def airflow(env: dict[str, str]):
    def run(*words: str) -> None:
        done = subprocess.run(
            [str(AIRFLOW), *words],
            env={**env, "PATH": f"{AIRFLOW.parent}:{env['PATH']}"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]

    run("db", "migrate")
    return run


def rows(deployment: Deployment, kind: str) -> list[Progress]:
    return list(reversed(deployment.store.progress(kind, kind=kind)))


def test_recompute_upkeep_and_quality_run_through_airflow(deployment: Deployment, airflow) -> None:
    airflow("dags", "test", "refresh_schedules")
    for dag in ("evaluate_segments", "evaluate_0_3_x_x_1", "keep_tables", "check_quality"):
        airflow("dags", "test", dag)
    states = [
        row.state for kind in ("recompute", "upkeep", "quality") for row in rows(deployment, kind)
    ]
    assert states == ["done"] * 5
    airflow("dags", "test", "export_segments", "--conf", '{"segments": ["weekly", "big"]}')
    for segment in ("weekly", "big"):
        (file,) = (deployment.settings.home / "exports" / segment).glob("*.csv")
        assert len(file.read_text().splitlines()) == 80


def recompute(env: dict[str, str], run_id: str) -> subprocess.Popen[str]:
    words = ["./spark-submit.sh", "jobs/recompute_segments.py", "--keep", "--run-id", run_id]
    return subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def test_a_recompute_killed_midway_is_done_by_the_next_and_then_no_more(
    deployment: Deployment, env: dict[str, str]
) -> None:
    killed = recompute(env, "night")
    before = len(rows(deployment, "recompute"))
    until = time.monotonic() + 60
    while len(rows(deployment, "recompute")) == before:
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(3)  # amid the work of its ten seconds or so
    for process in (*psutil.Process(killed.pid).children(recursive=True), killed):
        process.send_signal(signal.SIGKILL)
    killed.wait()
    with ThreadPoolExecutor(2) as pool:  # cleared, and by somebody else as well
        both = [recompute(env, "night") for _ in range(2)]
        told = list(pool.map(lambda process: process.communicate(timeout=200)[0], both))
    assert [process.returncode for process in both] == [0, 0]
    assert sum("run night is done already" in text for text in told) == 1
    assert [row.state for row in rows(deployment, "recompute")][before:] == ["lost", "done"]
