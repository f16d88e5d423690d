"""``headrace status``: every part, healthy or not, how far behind and since when."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from headrace.cli.health import judged
from headrace.cli.invocation import Invocation, Output, invoked
from headrace.cli.parts import Part
from headrace.cli.questions import Heard, Silence, ask_everybody
from headrace.clock import SECOND, format_instant
from headrace.store import Progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    context: typer.Context,
    output: Annotated[Output, typer.Option(help="table or json.")] = Output.TABLE,
) -> None:
    """Every part: healthy or not, behind by, stale since, last error; then servers and processes.

    Exit code 1 unless all is well: a server is down, a process has died, a part fails or what it
    does is stale.
    """
    invocation = invoked(context)
    heard = ask_everybody(invocation.settings)
    parts = judged(heard)
    is_well = all(part.is_well for part in parts)
    if output is Output.JSON:
        invocation.print_json(_as_json(heard, parts, str(invocation.settings.home), is_well))
    else:
        _print_tables(invocation, heard, parts)
    if not is_well:
        raise typer.Exit(1)


def _print_tables(invocation: Invocation, heard: Heard, parts: list[Part]) -> None:
    columns = ("part", "state", "behind by", "stale since", "last error", "")
    invocation.print_table(columns, map(_row, parts))
    invocation.out.print()
    rows = [
        (row.name, row.kind, _running(row.is_running), _pid(row.pid), row.address)
        for row in heard.servers
    ]
    rows += [
        (
            row.name,
            "process",
            "died" if row.has_died else _running(row.is_running),
            _pid(row.pid),
            f"see {row.log}" if row.has_died else row.about,
        )
        for row in heard.services.values()
    ]
    rows += [(row.job, row.kind, row.state, _pid(row.pid), _since(row)) for row in _jobs(heard)]
    invocation.print_table(("name", "kind", "state", "pid", ""), rows)


def _row(part: Part) -> tuple[str, ...]:
    since = "" if part.stale_since is None else format_instant(part.stale_since)
    return part.name, part.state, _behind(part), since, part.last_error, part.detail


def _behind(part: Part) -> str:
    events = "" if part.behind_events is None else f"{part.behind_events:,} messages"
    seconds = "" if part.behind_ms is None else f"{part.behind_ms / SECOND:.1f} s"
    return ", ".join(filter(None, (events, seconds)))


def _as_json(heard: Heard, parts: list[Part], home: str, is_well: bool) -> dict[str, Any]:
    return {
        "home": home,
        "healthy": is_well,
        "parts": [_part_as_json(part) for part in parts],
        "servers": [asdict(row) for row in heard.servers],
        "processes": [asdict(row) for row in heard.services.values()],
        "jobs": [{**asdict(row), "details": dict(row.details)} for row in _jobs(heard)],
        "trouble": heard.records.why if isinstance(heard.records, Silence) else None,
    }


def _part_as_json(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "healthy": part.is_well,
        "state": part.state,
        "behind_events": part.behind_events,
        "behind_seconds": None if part.behind_ms is None else part.behind_ms / SECOND,
        "stale_since": None if part.stale_since is None else format_instant(part.stale_since),
        "last_error": part.last_error or None,
        "detail": part.detail,
    }


def _jobs(heard: Heard) -> tuple[Progress, ...]:
    """The newest launch, and what runs beside it."""
    if isinstance(heard.records, Silence):
        return ()
    return heard.records.launches[:1] + heard.records.under_way


def _running(is_running: bool | None) -> str:
    return "not asked" if is_running is None else "running" if is_running else "down"


def _pid(pid: int | None) -> str:
    return "" if pid is None else str(pid)


def _since(row: Progress) -> str:
    ended = row.ended_at or datetime.now(UTC)
    seconds = int((ended - row.started_at).total_seconds())
    return f"{row.state} for {seconds} s" if row.ended_at is None else f"ran {seconds} s"
