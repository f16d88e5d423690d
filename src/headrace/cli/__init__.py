"""The command ``headrace``. One file per group of commands; each registers itself.

Exit codes: 0 well, 1 a refusal with a sentence, 2 a crash of ours, 3 "the plan has changes".
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from headrace.cli.invocation import Invocation
from headrace.errors import HeadraceError, InternalError

# Files of commands, and the commands of each. Only the file of the command at hand is imported:
# the libraries behind all of them take seconds.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "servers": ("up", "down"),
    "status": ("status",),
    "rules": ("validate", "evaluate"),
    "testing": ("test",),
    "spelling": ("convert", "fmt"),
    "catalog": ("catalog",),
    "publish": ("plan", "apply"),
    "versions": ("versions", "activate", "rollback", "retire"),
    "data": ("reload",),
    "forget": ("forget",),
    "schedules": ("schedules",),
    "quality": ("quality",),
    "dlq": ("dlq",),
    "sources": ("sources",),
    "keys": ("keys",),
    "streams": ("streams",),
    "lists": ("lists",),
    "export": ("export",),
    "serve": ("serve",),
    "demo": ("demo",),
    "doctor": ("doctor",),
    "config": ("config",),
}

# Options of every command: taken wherever they stand, so that `headrace up --home X` works too.
GLOBAL_WITH_VALUE = ("--target", "--home")
GLOBAL_ALONE = ("--no-color",)

WELL, REFUSED, CRASHED, INTERRUPTED = 0, 1, 2, 130


def build_app(command: str | None = None) -> typer.Typer:
    """The command line: the group of ``command`` alone, or all of it where that is no command."""
    app = typer.Typer(
        name="headrace",
        help="Customer segments as rules, kept true while events stream in.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_globals)
    wanted = [group for group, commands in GROUPS.items() if command in commands] or GROUPS
    for group in wanted:
        import_module(f"headrace.cli.{group}").register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headrace {version('headrace')}")
        raise typer.Exit


def _globals(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Option(help="Read conf/TARGET.toml (default: local).", metavar="TARGET")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Data, logs and pids (default: .headrace).")
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    context.obj = Invocation(target=target, home=home, color=not no_color)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    first, rest = _globals_apart(sys.argv[1:] if arguments is None else arguments)
    words = [*first, *rest]
    if "--no-color" in words:
        os.environ["NO_COLOR"] = "1"  # for what prints before the options are read, as help does
    try:
        command = next((word for word in rest if not word.startswith("-")), None)
        result = build_app(command)(words, prog_name="headrace", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else WELL
    except TyperException as error:
        if not error.format_message():  # a bare group of commands: its help has been printed
            return WELL
        _say(f"{error.format_message()}\nTry 'headrace --help'.")
        return REFUSED
    except InternalError:
        return _crash()
    except HeadraceError as error:
        _say(f"{error} [{error.code}]" if "\n" not in str(error) else str(error))
        return REFUSED
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL
    except Exception:
        return _crash()


def _crash() -> int:
    traceback.print_exc()
    _say("this is a fault of Headrace, not of yours; please report the lines above")
    return CRASHED


def _say(text: str) -> None:
    print(f"headrace: {text}", file=sys.stderr)


def _globals_apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Global options, wherever they stand, and everything else."""
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += [word, *waiting]
        elif word in GLOBAL_ALONE or word.startswith(tuple(f"{o}=" for o in GLOBAL_WITH_VALUE)):
            first.append(word)
        elif word in GLOBAL_WITH_VALUE:
            first += [word, *(value for value in [next(waiting, None)] if value is not None)]
        else:
            rest.append(word)
    return first, rest
