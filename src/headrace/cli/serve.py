"""``headrace serve``: the API, or the event API, in the foreground."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from headrace.cli.invocation import invoked


class Api(StrEnum):
    """What there is to serve."""

    API = "api"
    INGEST = "ingest"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


def serve(
    context: typer.Context,
    what: Annotated[Api, typer.Argument(help="api: who is in what; ingest: where events come in.")],
) -> int:
    """Answer HTTP until ended by Ctrl-C or SIGTERM. `up` keeps both running in the background."""
    run = invoked(context)
    settings = run.settings
    # The libraries of one are not waited for by the other.
    if what is Api.API:
        from headrace.serving.process import serve as answer

        run.err.print(f"answering at http://{settings.api_host}:{settings.api_port}")
    else:
        from headrace.serving.ingest.process import serve_ingest as answer

        run.err.print(f"taking events at http://{settings.ingest.host}:{settings.ingest.port}")
    return answer(settings)
