"""Headrace's own processes on one machine: the watcher, the loader and the two APIs.

The streaming job is not among them: the watcher starts it, and ends it when it is ended.
"""

from __future__ import annotations

import hashlib
import http.client
import sys
import time
import urllib.request
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from headrace.embedded.children import Children, log_tail, make_private
from headrace.embedded.ports import LOOPBACK, choose_port
from headrace.embedded.servers import NAMES as SERVER_NAMES
from headrace.embedded.servers import alone, read_notes, write_notes
from headrace.errors import OperatorError
from headrace.settings import Settings
from headrace.settings.places import CHECKOUT

SETTLE_SECONDS = 1.0  # a process that cannot start ends within this
API_SECONDS = 30.0
# The watcher gives the streaming job 15 s to finish its batch, and then 10 to go, before it leaves.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Service:
    """A process that `up` keeps, the script it is, and the setting of its port if it has one."""

    name: str
    script: str
    about: str
    port: str = ""


SERVICES: tuple[Service, ...] = (
    Service("watch", "jobs/watch_rules.py", "keeps the streaming job equal to the active rules"),
    Service("load", "jobs/load_memberships.py", "carries memberships from Kafka to Redis"),
    Service("serve", "jobs/serve_api.py", "answers HTTP", port="api_port"),
    Service("ingest", "jobs/serve_ingest.py", "takes events over HTTP", port="ingest.port"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """One line of ``headrace status``."""

    name: str
    about: str
    is_running: bool
    has_died: bool  # it was started, nobody ended it, and it is gone
    pid: int | None
    started: float | None  # seconds since 1970
    log: str


def start_services(
    settings: Settings, *, root: Path, target: str, fixed: Collection[str] = ()
) -> tuple[str, ...]:
    """Start those that do not run; the names of those started. The APIs answer on return.

    A port gives way to a free one if it is taken, unless its setting is ``fixed``: asked for. Those
    that were told other addresses of servers than ``settings`` has are started anew.
    """
    make_private(settings.home)
    make_private(settings.home / "run")
    with alone(settings.home):
        return _started(settings, root, target, fixed)


def _started(
    settings: Settings, root: Path, target: str, fixed: Collection[str]
) -> tuple[str, ...]:
    children = Children(settings.home)
    addresses = _addresses(settings)
    notes = read_notes(settings.home)
    if notes.get("services_know") != addresses:
        _stopped(children)
    absent = [service for service in SERVICES if children.alive(service.name) is None]
    ports = {service: _chosen(settings, service, fixed) for service in absent if service.port}
    notes |= {service.port: port for service, port in ports.items()}
    # Beside the servers' addresses, where ``load_settings`` finds the ports.
    write_notes(settings.home, {**notes, "services_know": addresses})
    environment = {"HEADRACE_HOME": str(settings.home), "HEADRACE_TARGET": target}
    processes = []
    for service in absent:
        script = next(
            (place for folder in (root, CHECKOUT) if (place := folder / service.script).is_file()),
            None,
        )
        if script is None:
            raise OperatorError(f"{service.script} is missing under {root}")
        _, process = children.start(
            service.name, [sys.executable, str(script)], cwd=root, environment=environment
        )
        processes.append((service, process))
    for service, port in ports.items():
        _await_answer(service, f"http://{LOOPBACK}:{port}/livez", children)
    if absent and not ports:
        time.sleep(SETTLE_SECONDS)
    for service, process in processes:
        if process.poll() is not None:
            log = children.log_file(service.name)
            raise OperatorError(
                f"{service.script} ended with exit code {process.returncode};"
                f" the end of {log}:\n{log_tail(log)}"
            )
    return tuple(service.name for service in absent)


def stop_services(home: Path) -> tuple[str, ...]:
    """End them and what they started; the names of those that ran."""
    if not (home / "run").is_dir():
        return ()
    with alone(home):
        return _stopped(Children(home))


def _stopped(children: Children) -> tuple[str, ...]:
    with ThreadPoolExecutor(len(SERVICES)) as pool:
        names = [service.name for service in SERVICES]
        ended = pool.map(lambda name: children.stop(name, patience=PATIENCE_SECONDS), names)
        gone = [name for name, ran in zip(names, ended, strict=True) if ran]
    # A watcher that was killed has left the record of its streaming job.
    left = [name for name in children.names() if name not in (*names, *SERVER_NAMES, "connect")]
    return (*gone, *(name for name in left if children.stop(name)))


def services_status(home: Path) -> tuple[ServiceStatus, ...]:
    """What is known of each."""
    children = Children(home)
    rows = []
    for service in SERVICES:
        record = children.record(service.name)
        is_running = record is not None and record.is_alive
        rows.append(
            ServiceStatus(
                name=service.name,
                about=service.about,
                is_running=is_running,
                has_died=record is not None and not is_running,
                pid=record.pid if record is not None and is_running else None,
                started=record.started if record is not None and is_running else None,
                log=str(children.log_file(service.name)),
            )
        )
    return tuple(rows)


def _chosen(settings: Settings, service: Service, fixed: Collection[str]) -> int:
    """The port of ``service``: the one of the settings, or a free one if that is no wish."""
    wished = settings.api_port if service.port == "api_port" else settings.ingest.port
    port = choose_port(wished)
    if service.port in fixed and port != wished:
        raise OperatorError(f"port {wished} is taken; set another as {service.port}")
    return port


def _await_answer(service: Service, address: str, children: Children) -> None:
    deadline = time.monotonic() + API_SECONDS
    while time.monotonic() < deadline and children.alive(service.name) is not None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)


def _addresses(settings: Settings) -> str:
    """Where the servers are, unreadable: two of the three hold a password."""
    secrets = (settings.postgres_url.get_secret_value(), settings.redis_url.get_secret_value())
    return hashlib.sha256("\0".join((*secrets, settings.kafka_bootstrap)).encode()).hexdigest()
