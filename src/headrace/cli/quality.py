"""``headrace quality``: segments whose outputs are held, and how they are let go."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from headrace.cli.invocation import Invocation, Output, invoked
from headrace.errors import OperatorError
from headrace.store import Store


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="What data quality holds back.", no_args_is_help=True)
    group.command()(holds)
    group.command()(release)
    app.add_typer(group, name="quality")


def holds(
    context: typer.Context,
    output: Annotated[Output, typer.Option(help="table or json.")] = Output.TABLE,
) -> None:
    """Segments whose outputs are held, why and since when."""
    run = invoked(context)
    with _store(run) as store:
        found = store.holds()
    if output is Output.JSON:
        run.print_json([asdict(hold) for hold in found])
    else:
        rows = [(one.segment_id, f"{one.held_at:%Y-%m-%d %H:%M %Z}", one.reason) for one in found]
        run.print_table(("segment", "since", "reason"), rows)


def release(
    context: typer.Context,
    segment: Annotated[str, typer.Argument(help="The segment's id.")],
    author: Annotated[str, typer.Option(help="Who; default: the user logged in.")] = "",
) -> None:
    """Let the outputs of SEGMENT go; it is not held again for an hour."""
    run = invoked(context)
    with _store(run) as store:
        if not store.release_hold(segment, by=author or getpass.getuser()):
            held = ", ".join(hold.segment_id for hold in store.holds()) or "none is"
            raise OperatorError(f"outputs of {segment!r} are not held (held: {held})", code="HR953")
    run.err.print(f"outputs of {segment} are no longer held")


@contextmanager
def _store(run: Invocation) -> Iterator[Store]:
    settings = run.settings
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        yield store
    finally:
        store.close()
