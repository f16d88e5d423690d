"""All embedded servers of a home together: up, down, status."""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.embedded.children import Children, make_private, write_private
from headrace.embedded.connect import EmbeddedConnect
from headrace.embedded.jars import broker_classpath, connect_classpath
from headrace.embedded.kafka import EmbeddedKafka
from headrace.embedded.postgres import EmbeddedPostgres
from headrace.embedded.redis import EmbeddedRedis
from headrace.embedded.server import Server, ensure
from headrace.errors import OperatorError
from headrace.settings import Settings

NAMES = ("postgres", "kafka", "redis")
CONNECT = "connect.url"
"""The note, and the setting, of where Kafka Connect is."""
SERVERS_FILE = Path("run") / "servers.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the servers are; passwords stay out of the ``repr``."""

    postgres_url: str = field(repr=False)
    kafka_bootstrap: str
    redis_url: str = field(repr=False)
    home: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One line of ``headrace status``."""

    name: str
    kind: str  # "embedded" or "configured"
    is_running: bool | None  # None: somebody else's, not looked at
    address: str
    pid: int | None = None
    log: str = ""


def up(home: Path, settings: Settings) -> Servers:
    """Start what is neither configured nor running; when it returns, all of it is ready."""
    make_private(home)
    make_private(home / "run")
    make_private(home / "data")
    with alone(home):
        notes = read_notes(home)
        password = notes.get("password") or secrets.token_urlsafe(24)
        wanted = [name for name in NAMES if not _configured(name, settings, notes)]
        children = Children(home)
        # The password is on disk before the first server that was given it.
        write_notes(home, notes := {**notes, "password": password})
        servers = {name: _server(name, home, settings, password) for name in wanted}

        def start(name: str) -> int:
            return ensure(
                servers[name],
                children,
                wished_port=getattr(settings.embedded, f"{name}_port"),
                last_port=notes.get("ports", {}).get(name),
                timeout=settings.embedded.start_timeout_seconds,
                log=children.log_file(name),
            )

        with ThreadPoolExecutor(len(NAMES)) as pool:
            ports = dict(zip(wanted, pool.map(start, wanted), strict=True))
        addresses = {_KEYS[name]: servers[name].address(ports[name]) for name in wanted}
        kept = {key: value for key, value in notes.items() if key not in _KEYS.values()}
        write_notes(home, {**kept, **addresses, "ports": {**notes.get("ports", {}), **ports}})
    return Servers(
        postgres_url=addresses.get("postgres_url") or settings.postgres_url.get_secret_value(),
        kafka_bootstrap=addresses.get("kafka_bootstrap") or settings.kafka_bootstrap,
        redis_url=addresses.get("redis_url") or settings.redis_url.get_secret_value(),
        home=home,
    )


def up_connect(home: Path, settings: Settings) -> str:
    """Start a worker of Kafka Connect where none is configured; its address.

    Beside the three servers, since only streams that read databases need it. ``settings`` know
    where Kafka is.
    """
    secrets = home / "secrets"
    make_private(secrets)
    with alone(home):
        notes = read_notes(home)
        if settings.connect.url not in ("", notes.get(CONNECT)):
            return settings.connect.url
        children = Children(home)
        server = EmbeddedConnect(
            home / "data" / "connect",
            connect_classpath(settings),
            settings.embedded.connect_memory,
            bootstrap=settings.kafka_bootstrap,
            namespace=settings.namespace,
            secrets=secrets,
        )
        port = ensure(
            server,
            children,
            wished_port=settings.embedded.connect_port,
            last_port=notes.get("ports", {}).get("connect"),
            timeout=settings.embedded.start_timeout_seconds,
            log=children.log_file("connect"),
        )
        ports = {**notes.get("ports", {}), "connect": port}
        write_notes(home, {**notes, CONNECT: server.address(port), "ports": ports})
    return server.address(port)


def down(home: Path) -> tuple[str, ...]:
    """End the servers of ``home``, and nothing else; the names of those that ran."""
    if not (home / "run").is_dir():
        return ()
    children = Children(home)
    stop_signals = {
        "postgres": EmbeddedPostgres.stop_signal,
        "kafka": EmbeddedKafka.stop_signal,
        "redis": EmbeddedRedis.stop_signal,
    }
    with alone(home), ThreadPoolExecutor(len(NAMES)) as pool:
        # First, for it writes to Kafka until it ends.
        connect = ("connect",) if children.stop("connect", by=EmbeddedConnect.stop_signal) else ()
        ended = pool.map(lambda name: children.stop(name, by=stop_signals[name]), NAMES)
        return (*connect, *(name for name, ran in zip(NAMES, ended, strict=True) if ran))


def status(home: Path, settings: Settings) -> tuple[ServerStatus, ...]:
    """What is known of each server without asking it anything."""
    notes = read_notes(home)
    children = Children(home)
    rows = []
    for name in NAMES:
        if _configured(name, settings, notes):
            address = _bare(_setting(name, settings))
            rows.append(
                ServerStatus(name=name, kind="configured", is_running=None, address=address)
            )
            continue
        record = children.alive(name)
        rows.append(
            ServerStatus(
                name=name,
                kind="embedded",
                is_running=record is not None,
                address=_bare(str(notes.get(_KEYS[name], ""))),
                pid=record.pid if record else None,
                log=str(children.log_file(name)),
            )
        )
    connect = children.record("connect")
    if connect is not None:  # it is there only once a stream has needed it
        rows.append(
            ServerStatus(
                name="connect",
                kind="embedded",
                is_running=connect.is_alive,
                address=_bare(str(notes.get(CONNECT, ""))),
                pid=connect.pid if connect.is_alive else None,
                log=connect.log,
            )
        )
    return tuple(rows)


@contextmanager
def running(home: Path, settings: Settings | None = None) -> Iterator[Servers]:
    """Servers for the length of a ``with`` block. Their data go when ``home`` did not exist."""
    was_there = home.exists()
    try:
        yield up(home, settings or Settings(home=home))
    finally:
        down(home)
        if not was_there:
            shutil.rmtree(home, ignore_errors=True)


_KEYS: Mapping[str, str] = {
    "postgres": "postgres_url",
    "kafka": "kafka_bootstrap",
    "redis": "redis_url",
}


def _setting(name: str, settings: Settings) -> str:
    value = getattr(settings, _KEYS[name])
    return value if isinstance(value, str) else str(value.get_secret_value())


def _configured(name: str, settings: Settings, notes: Mapping[str, Any]) -> bool:
    """Does a setting name a server that is not the one we noted ourselves?"""
    address = _setting(name, settings)
    return address not in ("", notes.get(_KEYS[name]))


def _server(name: str, home: Path, settings: Settings, password: str) -> Server:
    folder = home / "data" / name
    match name:
        case "postgres":
            return EmbeddedPostgres(folder, password)
        case "kafka":
            return EmbeddedKafka(folder, broker_classpath(settings), settings.embedded.kafka_memory)
        case "redis":
            return EmbeddedRedis(folder, password)
        case _:
            raise AssertionError(name)


def read_notes(home: Path) -> dict[str, Any]:
    """What is noted of the servers of ``home``, and by those that use them."""
    try:
        notes = json.loads((home / SERVERS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OperatorError(f"cannot read {home / 'run' / 'servers.json'}: {error}") from error
    return notes if isinstance(notes, dict) else {}


def write_notes(home: Path, notes: Mapping[str, Any]) -> None:
    """Note that instead, for this user's eyes alone: some of it is secret."""
    write_private(home / SERVERS_FILE, json.dumps(notes, indent=2) + "\n")


def _bare(address: str) -> str:
    """An address without user and password."""
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """One `up` or `down` of a home at a time; the lock goes with the process that holds it."""
    with (home / "run" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
