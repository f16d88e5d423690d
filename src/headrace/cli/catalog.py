"""``headrace catalog``: what events look like."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from headrace.cli.event_files import EventLines
from headrace.cli.invocation import invoked
from headrace.errors import OperatorError
from headrace.plan.text import catalog_out
from headrace.rules.inference import infer
from headrace.rules.printer import print_catalog

MOST_DOUBTS = 20


class Form(StrEnum):
    """How ``infer`` prints."""

    YAML = "yaml"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    group = typer.Typer(help="The catalog of events, properties and traits.", no_args_is_help=True)
    group.command("infer")(infer_catalog)
    app.add_typer(group, name="catalog")


def infer_catalog(
    context: typer.Context,
    events: Annotated[
        str, typer.Option(help="Events, one JSON object a line; .gz too; - is standard input.")
    ],
    output: Annotated[Form, typer.Option(help="How to print.")] = Form.YAML,
) -> None:
    """Propose a catalog from a sample of events; what is a guess is told on standard error."""
    run = invoked(context)
    lines = EventLines([events])
    found = infer(lines, lines.note)
    refused = lines.summary()
    if not found.catalog.events and not found.catalog.traits:
        why = f" ({refused[0]})" if refused else ""
        raise OperatorError(f"{events}: no line is an event or sets traits{why}", code="HR917")
    if output is Form.JSON:
        run.print_json(
            {
                "catalog": catalog_out(found.catalog),
                "doubts": found.doubts,
                "refused": refused,
            }
        )
        return
    for doubt in found.doubts[:MOST_DOUBTS]:
        print(doubt, file=sys.stderr)
    if len(found.doubts) > MOST_DOUBTS:
        print(f"and {len(found.doubts) - MOST_DOUBTS} more", file=sys.stderr)
    for sentence in refused:
        print(sentence, file=sys.stderr)
    sys.stdout.write(print_catalog(found.catalog))
