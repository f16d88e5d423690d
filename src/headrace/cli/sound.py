"""Rules that a command can use: read, with every problem told when one is broken."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from headrace.rules.checks import RETENTION
from headrace.rules.folder import load_rules
from headrace.rules.source import Rules


def sound_rules(folder: Path, *, retention: int = RETENTION) -> Rules:
    """The rules of ``folder``; all problems on standard error and exit 1 when one is broken."""
    rules = load_rules(folder, retention=retention)
    for problem in rules.errors:
        print(problem, file=sys.stderr)
    if rules.errors:
        raise typer.Exit(1)
    return rules


def write(text: str) -> None:
    """``text`` on standard output, in UTF-8 whatever the locale: outputs are compared as bytes."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
