"""The event API as a process: settings in, a listening server out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI

from headrace.kafka.acked import AcknowledgedProducer
from headrace.kafka.client import KafkaDown
from headrace.messages.topics import EVENTS, in_namespace
from headrace.metrics import Metrics
from headrace.serving.ingest.app import create_ingest_app
from headrace.serving.ingest.known import Known
from headrace.serving.ingest.sender import Sender
from headrace.serving.ingest.spool import Spool
from headrace.serving.process import listen
from headrace.settings import Settings
from headrace.store import SERVICE_SECONDS, Store


def build_ingest_app(settings: Settings) -> FastAPI:
    """The event API on the servers that ``settings`` name."""
    if not settings.kafka_bootstrap:
        raise KafkaDown("")
    store = Store(
        settings.postgres_url.get_secret_value(), settings.namespace, patience=SERVICE_SECONDS
    )
    known = Known(store, retention_days=settings.retention.events_days)
    folder = Path(settings.ingest.spool or settings.home / "spool")
    spool = Spool(folder, settings.ingest.spool_mb << 20)
    metrics = Metrics()
    topic = in_namespace(settings.namespace, EVENTS)
    producer = AcknowledgedProducer(settings.kafka_bootstrap, topic)
    sender = Sender(producer, spool, metrics, known.topics)

    @contextlib.asynccontextmanager
    async def open_and_close(_: FastAPI) -> AsyncIterator[None]:
        work = (known.keep_fresh(), sender.keep(), sender.drain())
        tasks = [asyncio.create_task(loop) for loop in work]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(producer.close)
        spool.close()
        store.close()

    return create_ingest_app(known, sender, spool, metrics=metrics, lifespan=open_and_close)


def serve_ingest(settings: Settings) -> int:
    """Take events until told to stop; 1 when the port is taken."""
    place = settings.ingest
    return listen(
        build_ingest_app(settings), place.host, place.port, setting="HEADRACE_INGEST__PORT"
    )
