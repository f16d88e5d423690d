"""``headrace up`` and ``down``."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace import embedded
from headrace.cli.invocation import Invocation, invoked
from headrace.embedded.services import start_services, stop_services
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.runtime.connectors import needs_connect
from headrace.settings import Settings
from headrace.store import Store


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)


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
        place = settings.ingest
        rows.append(("events", "process", f"http://{place.host}:{place.port}"))
    invocation.print_table(("server", "kind", "address"), rows)


def start(invocation: Invocation, *, servers_only: bool = False) -> Settings:
    """What ``up`` does; the settings with the addresses of what was started."""
    before = invocation.settings
    embedded.up(before.home, before)
    settings = Invocation(invocation.target, before.home, invocation.color).settings
    # Before any process looks: none of them then has to wait for another to do it.
    prepare(settings)
    _connect(settings)
    if not servers_only:
        loaded = invocation.loaded
        fixed = {
            name
            for name in ("api_port", "ingest.port")
            if loaded.origins[name] not in ("default", "embedded server")
        }
        start_services(settings, root=loaded.root, target=loaded.target, fixed=fixed)
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


def _connect(settings: Settings) -> None:
    """Kafka Connect, if a stream needs it."""
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        is_needed = any(map(needs_connect, store.streams()))
    finally:
        store.close()
    if is_needed:
        start_connect(settings)


def start_connect(settings: Settings) -> None:
    """Start the embedded worker where none is configured, and Kafka is embedded, too."""
    rows = embedded.status(settings.home, settings)
    if any(row.name == "kafka" and row.is_running for row in rows):
        embedded.up_connect(settings.home, settings)


def down(context: typer.Context) -> None:
    """End what `up` started for this home, and nothing else."""
    invocation = invoked(context)
    home = invocation.settings.home
    ended = [*stop_services(home), *embedded.down(home)]
    invocation.err.print(f"ended: {', '.join(ended)}" if ended else "nothing of ours was running")
