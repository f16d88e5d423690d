"""``headrace versions``, ``activate``, ``rollback`` and ``retire``: the life of a segment."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from headrace.cli.invocation import Output, invoked
from headrace.cli.published import (
    Author,
    Format,
    Reason,
    logged_in,
    opened_store,
    problems_told,
    tell,
)
from headrace.plan.model import Plan
from headrace.runtime import JOB, activate, retire, roll_back
from headrace.store import Store, StoredVersion

SegmentId = Annotated[str, typer.Argument(metavar="SEGMENT")]
SegmentIds = Annotated[list[str], typer.Argument(metavar="SEGMENT...")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("versions")(show_versions)
    app.command("activate")(make_active)
    app.command("rollback")(go_back)
    app.command("retire")(end)


def show_versions(
    context: typer.Context, segment: SegmentId, output: Format = Output.TABLE
) -> None:
    """Print every version of SEGMENT, and which one the stream runs."""
    run = invoked(context)
    with opened_store(run) as store:
        found = store.history(segment).versions
        running = _running(store, segment)
    if output is Output.JSON:
        run.print_json([_as_json(one, one.version == running) for one in found])
        return
    columns = ("version", "state", "created", "activated", "retired", "author", "", "reason")
    rows = [
        (
            str(one.version),
            one.state,
            _day(one.created_at),
            _day(one.activated_at),
            _day(one.retired_at),
            one.author,
            "runs" if one.version == running else "",
            one.reason,
        )
        for one in found
    ]
    run.print_table(columns, rows)


def make_active(
    context: typer.Context,
    segments: SegmentIds,
    version: Annotated[
        int | None, typer.Option(help="This version's text; default: the newest draft.", min=1)
    ] = None,
    author: Author = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    output: Format = Output.TABLE,
) -> None:
    """Make the newest draft of each SEGMENT active, all at once.

    A draft keeps its number, unless another version was active since; then its text gets a new one.
    """
    run = invoked(context)
    if version is not None and len(segments) > 1:
        raise typer.BadParameter("--version goes with one SEGMENT")
    with opened_store(run) as store, problems_told():
        done = activate(
            store,
            run.settings,
            dict.fromkeys(segments, version),
            author=author or logged_in(),
            reason=reason,
            dry_run=dry_run,
        )
    tell(run, done, output, "no changes: this text is active already")


def go_back(
    context: typer.Context,
    segment: SegmentId,
    to: Annotated[
        int | None, typer.Option(help="The version to go back to; default: the text before.", min=1)
    ] = None,
    author: Author = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    output: Format = Output.TABLE,
) -> None:
    """Make an earlier text of SEGMENT active again, as a new version; a retired one comes back.

    Numbers only grow, so that readers, bits and messages of a number mean one text for ever.
    """
    run = invoked(context)
    with opened_store(run) as store, problems_told():
        done = roll_back(
            store,
            run.settings,
            segment,
            to=to,
            author=author or logged_in(),
            reason=reason,
            dry_run=dry_run,
        )
    tell(run, done, output, "no changes: this text is active already")


def end(
    context: typer.Context,
    segments: SegmentIds,
    author: Author = "",
    reason: Reason = "",
    dry_run: DryRun = False,
    output: Format = Output.TABLE,
) -> None:
    """End segments: their members leave, then they are gone. Their versions are kept.

    Refused while another active segment refers to one.
    """
    run = invoked(context)
    with opened_store(run) as store, problems_told():
        done = retire(
            store,
            run.settings,
            segments,
            author=author or logged_in(),
            reason=reason,
            dry_run=dry_run,
        )
    tell(run, done, output, "no changes")


def _running(store: Store, segment: str) -> int | None:
    """The version of ``segment`` in the plan that the stream runs."""
    running = store.running_plan(JOB)
    found = store.plan(running.plan_hash) if running else None
    return Plan.from_json(found.text).versions.get(segment) if found else None


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _as_json(one: StoredVersion, runs: bool) -> dict[str, Any]:
    return {
        "version": one.version,
        "state": one.state,
        "runs": runs,
        "author": one.author,
        "reason": one.reason,
        "created_at": one.created_at,
        "activated_at": one.activated_at,
        "retired_at": one.retired_at,
        "content_hash": one.content_hash,
        "text": one.text,
    }
