"""What ``headrace status`` asks of every server, and what it hears."""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headrace import embedded
from headrace.cache.model import Incomplete, LoaderStatus
from headrace.cache.reads import CachedMemberships
from headrace.clock import SECOND, Instant, system_clock
from headrace.databases.worker import ConnectorStatus, Worker
from headrace.embedded import ServerStatus
from headrace.embedded.services import ServiceStatus, services_status
from headrace.errors import HeadraceError
from headrace.kafka.ends import ends_of, ends_of_all
from headrace.messages.topics import EVENTS, in_namespace
from headrace.rules.catalog import Catalog
from headrace.runtime import JOB
from headrace.settings import Settings
from headrace.store import Progress, Store, StoredStream, StoredVersion

T = TypeVar("T")
# The API waits up to 5 s for a Redis that does not answer before it says so.
API_SECONDS = 8.0
LAUNCHES = 5


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody answered, or not what was asked: why, in a sentence."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What Postgres holds: launches of the stream, newest first, and whatever runs beside it.

    ``broken_off`` are scheduled runs that should be done again, ``segments`` the active versions.
    """

    launches: tuple[Progress, ...] = ()
    under_way: tuple[Progress, ...] = ()
    broken_off: tuple[Progress, ...] = ()
    streams: tuple[StoredStream, ...] = ()
    segments: tuple[StoredVersion, ...] = ()
    catalog: Catalog = field(default_factory=Catalog)
    target: str | None = None
    holder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What Redis holds; ``as_of`` is None while it is being filled."""

    loader: LoaderStatus | None = None
    as_of: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Everything there is to judge by, as of ``now``.

    ``ends`` are the next offsets of ``topic``, where events go, ``stream_ends`` those of the topics
    of streams; what is older than ``target`` ms is stale.
    """

    now: Instant
    target: int
    topic: str
    servers: tuple[ServerStatus, ...]
    services: Mapping[str, ServiceStatus]
    records: Records | Silence
    ends: Mapping[int, int] | Silence
    cached: Cached | Silence
    ready: Mapping[str, Any] | Silence
    taking: Mapping[str, Any] | Silence
    stream_ends: Mapping[str, Mapping[int, int]] | Silence = field(default_factory=dict)
    connectors: Mapping[str, ConnectorStatus] | Silence = field(default_factory=dict)


def ask_everybody(settings: Settings) -> Heard:
    """Ask all at once: one that does not answer keeps nobody waiting but for itself."""
    servers = embedded.status(settings.home, settings)
    down = {row.name for row in servers if row.is_running is False}
    questions: Mapping[str, tuple[str, Callable[[Settings], object]]] = {
        "records": ("postgres", _records),
        "ends": ("kafka", _ends),
        "stream_ends": ("kafka", _stream_ends),
        "cached": ("redis", _cached),
        "connectors": ("connect", _connectors),
        "ready": ("api", lambda _: _ready(settings.api_host, settings.api_port, "checks")),
        "taking": (
            "ingest",
            lambda _: _ready(settings.ingest.host, settings.ingest.port, "spool_bytes"),
        ),
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        answers: dict[str, Any] = {
            name: pool.submit(_answer, _not_running(server) if server in down else ask, settings)
            for name, (server, ask) in questions.items()
        }
    return Heard(
        now=system_clock(),
        target=settings.freshness_seconds * SECOND,
        topic=in_namespace(settings.namespace, EVENTS),
        servers=servers,
        services={row.name: row for row in services_status(settings.home)},
        **{name: answer.result() for name, answer in answers.items()},
    )


def _answer(ask: Callable[[Settings], T], settings: Settings) -> T | Silence:
    try:
        return ask(settings)
    except HeadraceError as error:
        return Silence(str(error))


def _not_running(server: str) -> Callable[[Settings], Silence]:
    return lambda _: Silence(f"the embedded {server} does not run; `headrace up` starts it")


def _connectors(settings: Settings) -> Mapping[str, ConnectorStatus]:
    url = settings.connect.url
    return Worker(url).statuses() if url else {}


def _records(settings: Settings) -> Records:
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        return Records(
            launches=tuple(store.progress(JOB, limit=LAUNCHES)),
            under_way=tuple(store.under_way()),
            broken_off=tuple(store.broken_off()),
            streams=tuple(store.streams()),
            segments=tuple(store.active_versions()),
            catalog=store.catalog() or Catalog(),
            target=store.target_hash(JOB),
            holder=store.lease_holder(JOB),
        )
    finally:
        store.close()


def _ends(settings: Settings) -> dict[int, int]:
    return ends_of(settings.kafka_bootstrap, in_namespace(settings.namespace, EVENTS))


def _stream_ends(settings: Settings) -> dict[str, dict[int, int]]:
    """The ends of the topics of active streams, as far as Postgres says which they are."""
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        active = [one.readable for one in store.streams() if one.state == "active"]
        topics = [stream.topic for stream in active if stream is not None]
    finally:
        store.close()
    return ends_of_all(settings.kafka_bootstrap, topics)


def _cached(settings: Settings) -> Cached:
    async def read() -> Cached:
        cache = CachedMemberships(settings.redis_url.get_secret_value(), settings.namespace)
        try:
            loader = await cache.loader()
            with suppress(Incomplete):
                return Cached(loader=loader, as_of=(await cache.users([])).as_of)
            return Cached(loader=loader)
        finally:
            await cache.close()

    return asyncio.run(read())


def _ready(host: str, port: int, mark: str) -> Mapping[str, Any] | Silence:
    """What /readyz says there; ``mark`` is a field that another server would not have."""
    address = f"http://{host}:{port}/readyz"
    try:
        try:
            with urllib.request.urlopen(address, timeout=API_SECONDS) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as refusal:
            told = json.load(refusal)
    except (ValueError, http.client.HTTPException):
        return Silence(f"{address} answers something else: is another server there?")
    except OSError as error:
        return Silence(f"{address} does not answer ({getattr(error, 'reason', error)})")
    if not isinstance(told, dict) or mark not in told:
        return Silence(f"{address} answers something else: is another server there?")
    return told
