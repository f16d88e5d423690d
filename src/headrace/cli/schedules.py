"""``headrace schedules``: which active segments are evaluated when, for whoever schedules them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import orjson
import typer

from headrace.cli.invocation import Output, invoked
from headrace.store import Store


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schedules)


def schedules(
    context: typer.Context,
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write them there as JSON, not here.")
    ] = None,
    output: Annotated[Output, typer.Option(help="table or json.")] = Output.TABLE,
) -> None:
    """Each active segment with its `refresh`: continuous (the stream's), or a cron line."""
    run = invoked(context)
    settings = run.settings
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        found = {one.segment_id: one.segment.refresh for one in store.active_versions()}
    finally:
        store.close()
    if write is not None:
        _replace(write, found)
    elif output is Output.JSON:
        run.print_json(found)
    else:
        run.print_table(("segment", "refresh"), sorted(found.items()))


def _replace(file: Path, found: Mapping[str, str]) -> None:
    """Write the file whole: whoever reads it meanwhile sees the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    unfinished.replace(file)
