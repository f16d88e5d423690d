"""Streaming jobs in this process, on servers of their own: for what is watched batch by batch."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

from databases import fresh_database
from deployment import Deployment
from headrace.embedded import running
from headrace.embedded.jars import spark_jars
from headrace.settings import Settings
from headrace.spark.session import open_session

PATIENCE_SECONDS = 3_600  # hundreds of batches, however slow

Opener: TypeAlias = Callable[..., Deployment]


@contextmanager
def deployments(name: str) -> Iterator[Opener]:
    """Opens deployments by namespace and stream settings, all on the same servers and session."""
    folder = Path(tempfile.mkdtemp(prefix=f"headrace-{name}-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        spark = open_session(
            f"headrace-{name}",
            master=f"local[{os.cpu_count()}]",
            jars=[str(jar) for jar in spark_jars()],
            settings={"spark.driver.memory": "3g", "spark.sql.shuffle.partitions": "4"},
        )
        stack.callback(spark.stop)
        servers = stack.enter_context(running(folder / "servers"))

        def opened(namespace: str, **stream: int) -> Deployment:
            settings = Settings(
                home=folder / namespace,
                namespace=namespace,
                postgres_url=fresh_database(servers),
                kafka_bootstrap=servers.kafka_bootstrap,
                redis_url=servers.redis_url,
                stream={"trigger_ms": 500, **stream},
            )
            rules = folder / f"{namespace}-rules"
            here = stack.enter_context(Deployment.opened(spark, settings, rules))
            here.patience_seconds = PATIENCE_SECONDS
            return here

        yield opened
