"""What was said before the command: target, home, colour; and where output goes.

A command gets it as ``invoked(context)`` of its ``typer.Context``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import orjson
import typer
from rich.console import Console
from rich.table import Table

from headrace.settings import Loaded, Settings, load


class Output(StrEnum):
    """How a command prints its result."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True)
class Invocation:
    """One run of ``headrace``."""

    target: str | None = None
    home: Path | None = None
    color: bool = True

    @cached_property
    def loaded(self) -> Loaded:
        """Settings with their origins; read when a command first asks."""
        return load(self.target, flags={"home": str(self.home.absolute()) if self.home else None})

    @property
    def settings(self) -> Settings:
        """The settings of this run."""
        return self.loaded.settings

    @cached_property
    def out(self) -> Console:
        """Standard output."""
        return self._console(stderr=False)

    @cached_property
    def err(self) -> Console:
        """Standard error: what is said about the work, not the result of it."""
        return self._console(stderr=True)

    def _console(self, *, stderr: bool) -> Console:
        plain = not self.color or "NO_COLOR" in os.environ
        console = Console(stderr=stderr, no_color=plain, highlight=False, emoji=False)
        if not console.is_terminal:
            # Rich wraps at 80 columns when there is no terminal; a pipe wants whole lines.
            console = Console(
                stderr=stderr, no_color=True, highlight=False, emoji=False, width=10_000
            )
        return console

    def print_json(self, value: object) -> None:
        """``value`` on standard output, and nothing else there."""
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str)
        sys.stdout.write(data.decode() + "\n")

    def print_table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table: ruled on a terminal, aligned words in a pipe."""
        if self.out.is_terminal:
            table = Table(*columns, header_style="bold", box=None, pad_edge=False)
            for row in rows:
                table.add_row(*row)
            self.out.print(table)
            return
        lines = [list(columns), *map(list, rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
        for line in lines:
            text = "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True))
            sys.stdout.write(text.rstrip() + "\n")


def invoked(context: typer.Context) -> Invocation:
    """The invocation a command belongs to."""
    found = context.find_root().obj
    return found if isinstance(found, Invocation) else Invocation()
