"""The API as a process: settings in, a listening server out."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
from collections.abc import AsyncIterator
from functools import partial

import uvicorn
from fastapi import FastAPI

from headrace.cache.reads import CachedMemberships
from headrace.clock import SECOND
from headrace.errors import OperatorError
from headrace.kafka.ends import ends_of_all
from headrace.lake.tables import Tables
from headrace.metrics import Metrics
from headrace.serving.access import Keyring
from headrace.serving.app import create_app
from headrace.serving.changes import StoredChanges
from headrace.serving.definitions import StoredSegments
from headrace.serving.letters import StoredLetters
from headrace.serving.outputs import StoredOutputs
from headrace.serving.ports import Ports
from headrace.serving.profiles import StoredProfiles
from headrace.serving.prompt import PromptHttp
from headrace.serving.reading import Readers
from headrace.serving.search import candidates_of
from headrace.serving.streams import LAUNCHES, StoredStreams
from headrace.settings import Settings
from headrace.settings.keys import known_tombstone_key
from headrace.store import SERVICE_SECONDS, Store

STREAM = "stream"  # whose launches and backfills these are


def build_app(settings: Settings) -> FastAPI:
    """The API on the servers that ``settings`` name; connections open with the first request."""
    memberships = CachedMemberships(settings.redis_url.get_secret_value(), settings.namespace)
    store = Store(
        settings.postgres_url.get_secret_value(), settings.namespace, patience=SERVICE_SECONDS
    )
    # Its own, and patient: waiting for another publisher is no silence of Postgres.
    publishing = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    streams = StoredStreams(
        store.streams,
        lambda: store.progress(STREAM, limit=LAUNCHES),
        lambda topics: ends_of_all(settings.kafka_bootstrap, topics),
        target=settings.freshness_seconds * SECOND,
    )
    segments = StoredSegments(
        store.active_versions,
        memberships,
        backfills=lambda: store.progress(STREAM, kind="backfill", limit=1),
        streams=streams.told,
        catalog=store.catalog,
        target=partial(store.target_hash, STREAM),
        plan=store.plan,
    )

    keyring = Keyring(
        store.api_keys,
        store.note_api_keys_used,
        anonymous=None if settings.api_anonymous == "none" else settings.api_anonymous,
    )

    @contextlib.asynccontextmanager
    async def open_and_close(_: FastAPI) -> AsyncIterator[None]:
        refreshing = [asyncio.create_task(one.keep_fresh()) for one in (segments, keyring)]
        yield
        for task in refreshing:
            task.cancel()
        await asyncio.gather(*refreshing, return_exceptions=True)
        await memberships.close()
        readers.close()
        store.close()
        publishing.close()

    tables, readers = Tables(settings.tables_root), Readers()
    ports = Ports(
        memberships=memberships,
        segments=segments,
        outputs=StoredOutputs(store.catalog, store.holds),
        streams=streams,
        profiles=StoredProfiles(
            tables,
            readers,
            partial(store.running_plan, STREAM),
            store.plan,
            partial(known_tombstone_key, settings),
        ),
        letters=StoredLetters(tables, readers, store.replayed),
        candidates=candidates_of(tables, readers),
        changes=StoredChanges(publishing, settings, asyncio.Lock()),
    )
    return create_app(
        ports,
        keyring,
        metrics=Metrics(),
        freshness_target=settings.freshness_seconds * SECOND,
        lifespan=open_and_close,
    )


def serve(settings: Settings) -> int:
    """Answer until told to stop; 1 when the port is taken."""
    if settings.api_anonymous != "none" and not _is_loopback(settings.api_host):
        raise OperatorError(
            f"the API would answer everybody who reaches {settings.api_host}: set"
            " HEADRACE_API_ANONYMOUS=none, and give out keys (`headrace keys add`)",
            code="HR965",
        )
    app = build_app(settings)
    return listen(app, settings.api_host, settings.api_port, setting="HEADRACE_API_PORT")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(app: FastAPI, host: str, port: int, *, setting: str) -> int:
    """Serve ``app`` until told to stop. OperatorError when the port, which ``setting`` chooses, is
    taken."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=PromptHttp,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            # The peer is who is connected: headers about it are anybody's words.
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
            # Beyond this, answering all of them late helps nobody: 503 at once.
            limit_concurrency=2_048,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops on them, then raises them again at whoever listened before: at us.
        signal.signal(number, lambda *_: None)
    try:
        server.run()
    except SystemExit as stop:
        raise OperatorError(
            f"cannot listen on {host}:{port}: is the port taken? {setting} chooses another",
            code="HR909",
        ) from stop
    return 0 if server.started else 1
