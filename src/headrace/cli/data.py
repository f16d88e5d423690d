"""``headrace reload``."""

from __future__ import annotations

import subprocess

import typer

from headrace.cli.invocation import invoked


def register(app: typer.Typer) -> None:
    """Add the commands about stored data."""
    app.command()(reload)


def reload(context: typer.Context) -> None:
    """Rebuild Redis from the tables, under a new generation; readers move when it is whole."""
    loaded = invoked(context).loaded
    command = [
        str(loaded.root / "spark-submit.sh"),
        "jobs/reload_memberships.py",
        "--home",
        str(loaded.settings.home),
        "--target",
        loaded.target,
    ]
    raise typer.Exit(subprocess.run(command, cwd=loaded.root, check=False).returncode)
