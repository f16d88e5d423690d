"""One Spark session for the whole run, and a project of its own for each module."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from databases import drop_database, fresh_database
from deployment import Deployment
from headrace.embedded import Servers
from headrace.embedded.jars import spark_jars
from headrace.settings import Settings
from headrace.spark.session import Session, open_session


@pytest.fixture(scope="session")
def spark() -> Iterator[Session]:
    session = open_session(
        "headrace-tests",
        master="local[2]",
        jars=[str(jar) for jar in spark_jars()],
        settings={"spark.driver.memory": "2g", "spark.sql.shuffle.partitions": "2"},
    )
    yield session
    session.stop()


@pytest.fixture(scope="module")
def deployment(
    servers: Servers, spark: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    url = fresh_database(servers)
    folder = tmp_path_factory.mktemp("project")
    settings = Settings(
        home=folder / "home",
        namespace=f"t{uuid.uuid4().hex[:8]}",
        postgres_url=url,
        kafka_bootstrap=servers.kafka_bootstrap,
        redis_url=servers.redis_url,
        stream={"trigger_ms": 500, "buckets": 2},
    )
    with Deployment.opened(spark, settings, folder / "rules") as opened:
        yield opened
    drop_database(servers, url)
