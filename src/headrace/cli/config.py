"""``headrace config``."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.invocation import Output, invoked


def register(app: typer.Typer) -> None:
    """Add the group ``config``."""
    group = typer.Typer(help="Settings.", no_args_is_help=True)
    group.command()(show)
    app.add_typer(group, name="config")


def show(
    context: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each comes from.")] = False,
    output: Annotated[Output, typer.Option(help="table or json.")] = Output.TABLE,
) -> None:
    """Print every setting that is in force; secrets are hidden."""
    invocation = invoked(context)
    leaves = list(invocation.loaded.leaves())
    if output is Output.JSON:
        invocation.print_json(
            {
                name: {"value": value, "origin": where} if origin else value
                for name, value, where in leaves
            }
        )
    elif origin:
        invocation.print_table(("setting", "value", "origin"), leaves)
    else:
        invocation.print_table(("setting", "value"), [leaf[:2] for leaf in leaves])
