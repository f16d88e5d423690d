"""``headrace up``, ``down`` and ``status``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from headrace import embedded
from headrace.cli.invocation import Invocation, Output, invoked
from headrace.embedded.services import services_status, start_services, stop_services
from headrace.errors import HeadraceError
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.settings import Settings
from headrace.store import Progress, Store

JOBS = ("stream", "recompute")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    context: typer.Context,
    servers_only: Annotated[
        bool, typer.Option("--servers-only", help="Not Headrace's own processes.")
    ] = False,
) -> None:
    """Start Postgres, Kafka and Redis where none is configured, and Headrace's processes.

    What runs already is left alone, so `up` twice is `up` once.
    """
    invocation = invoked(context)
    settings = start(invocation, servers_only=servers_only)
    rows = [(row.name, row.kind, row.address) for row in embedded.status(settings.home, settings)]
    if not servers_only:
        rows.append(("api", "process", f"http://{settings.api_host}:{settings.api_port}"))
    invocation.print_table(("server", "kind", "address"), rows)


def start(invocation: Invocation, *, servers_only: bool = False) -> Settings:
    """What ``up`` does; the settings with the addresses of what was started."""
    before = invocation.settings
    embedded.up(before.home, before)
    settings = Invocation(invocation.target, before.home, invocation.color).settings
    # Before any process looks: none of them then has to wait for another to do it.
    prepare(settings)
    if not servers_only:
        loaded = invocation.loaded
        fixed = loaded.origins["api_port"] not in ("default", "embedded server")
        start_services(settings, root=loaded.root, target=loaded.target, fixed_port=fixed)
        settings = Invocation(invocation.target, before.home, invocation.color).settings
    return settings


def prepare(settings: Settings) -> None:
    """The tables of Postgres and the topics of Kafka, made where they are missing."""
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        store.migrate()
    finally:
        store.close()
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics(settings.namespace)


def down(context: typer.Context) -> None:
    """End what `up` started for this home, and nothing else."""
    invocation = invoked(context)
    home = invocation.settings.home
    ended = [*stop_services(home), *embedded.down(home)]
    invocation.err.print(f"ended: {', '.join(ended)}" if ended else "nothing of ours was running")


def status(
    context: typer.Context,
    output: Annotated[Output, typer.Option(help="table or json.")] = Output.TABLE,
) -> None:
    """Servers, processes and jobs. Exit code 1 if a server is down or a process has died."""
    invocation = invoked(context)
    settings = invocation.settings
    servers = embedded.status(settings.home, settings)
    services = services_status(settings.home)
    jobs, trouble = _jobs(settings)
    if output is Output.JSON:
        invocation.print_json(
            {
                "home": str(settings.home),
                "servers": [asdict(row) for row in servers],
                "processes": [asdict(row) for row in services],
                "jobs": [_as_json(row) for row in jobs],
                "trouble": trouble,
            }
        )
    else:
        rows = [
            (row.name, row.kind, _running(row.is_running), _pid(row.pid), row.address)
            for row in servers
        ]
        rows += [
            (
                row.name,
                "process",
                "died" if row.has_died else _running(row.is_running),
                _pid(row.pid),
                f"see {row.log}" if row.has_died else row.about,
            )
            for row in services
        ]
        rows += [(row.job, row.kind, row.state, _pid(row.pid), _since(row)) for row in jobs]
        invocation.print_table(("name", "kind", "state", "pid", ""), rows)
        if trouble:
            invocation.err.print(f"headrace: {trouble}")
    if any(row.is_running is False for row in servers) or any(row.has_died for row in services):
        raise typer.Exit(1)


def _jobs(settings: Settings) -> tuple[list[Progress], str | None]:
    """The newest rows of the progress table; a server that is down is told, not raised."""
    url = settings.postgres_url.get_secret_value()
    if not url:
        return [], None
    try:
        store = Store(url, settings.namespace)
        try:
            return list(_newest(store)), None
        finally:
            store.close()
    except HeadraceError as error:
        return [], str(error)


def _newest(store: Store) -> Iterator[Progress]:
    for job in JOBS:
        for kind in ("launch", "backfill", "recompute"):
            yield from store.progress(job, kind=kind, limit=1)


def _as_json(row: Progress) -> dict[str, Any]:
    return {**asdict(row), "details": dict(row.details)}


def _running(is_running: bool | None) -> str:
    return "not asked" if is_running is None else "running" if is_running else "down"


def _pid(pid: int | None) -> str:
    return "" if pid is None else str(pid)


def _since(row: Progress) -> str:
    ended = row.ended_at or datetime.now(UTC)
    seconds = int((ended - row.started_at).total_seconds())
    return f"{row.state} for {seconds} s" if row.ended_at is None else f"ran {seconds} s"
