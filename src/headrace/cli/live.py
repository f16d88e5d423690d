"""The demo's live table on a terminal, and its one plain line elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace.jobs.comparison import Accounts

PLAIN_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """A segment: its members, and who entered and left in the last minute."""

    id: str
    members: int
    entered: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything the table shows at one moment."""

    phase: str
    seconds: float
    segments: tuple[SegmentLine, ...]
    sent: int
    lag: int
    batch: int | None
    freshness_ms: int | None
    accounts: Accounts

    @property
    def freshness(self) -> str:
        """How old what the API answers is."""
        return "-" if self.freshness_ms is None else f"{self.freshness_ms / 1000:.1f} s"


def plain_line(view: View) -> str:
    """``view`` in one line, for logs and pipes."""
    sizes = " ".join(f"{line.id}={line.members}" for line in view.segments)
    moved = sum(line.entered for line in view.segments), sum(line.left for line in view.segments)
    batch = "-" if view.batch is None else view.batch
    accounts = view.accounts
    return (
        f"{view.seconds:6.1f} s  {view.phase}  batch={batch} sent={view.sent} lag={view.lag}"
        f" accepted={accounts.accepted} duplicates={accounts.duplicates}"
        f" quarantined={accounts.quarantined} freshness={view.freshness.replace(' ', '')}"
        f" entered/min={moved[0]} left/min={moved[1]}  {sizes}"
    ).rstrip()


def full_table(view: View) -> Group:
    """``view`` as a table of segments under two lines of figures."""
    accounts = view.accounts
    batch = "-" if view.batch is None else str(view.batch)
    top = Text.assemble(
        (f"{view.phase}  ", "bold"),
        f"{view.seconds:.0f} s   batch {batch}   freshness ",
        (view.freshness, "bold green" if (view.freshness_ms or 0) < 10_000 else "bold yellow"),
        f"   lag {view.lag:,}   sent {view.sent:,}",
    )
    below = Text(
        f"accepted {accounts.accepted:,}   duplicates {accounts.duplicates:,}"
        f"   quarantined {accounts.quarantined:,}",
        style="dim",
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("segment")
    for name in ("members", "entered/min", "left/min"):
        table.add_column(name, justify="right")
    for line in view.segments:
        table.add_row(
            line.id,
            f"{line.members:,}",
            f"[green]+{line.entered:,}[/]" if line.entered else "[dim]0[/]",
            f"[red]-{line.left:,}[/]" if line.left else "[dim]0[/]",
        )
    return Group(top, below, table)


class Screen:
    """Shows views: redrawn in place on a terminal, a line now and then in a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._last = -PLAIN_EVERY_SECONDS

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, view: View) -> None:
        """Show ``view``, if it is time to."""
        if self._live is not None:
            self._live.update(full_table(view), refresh=True)
        elif time.monotonic() - self._last >= PLAIN_EVERY_SECONDS:
            self._last = time.monotonic()
            self.say(plain_line(view))

    def say(self, text: str) -> None:
        """A line that stays, above the table."""
        self._console.print(text, markup=False, soft_wrap=True)
