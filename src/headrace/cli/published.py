"""What publishing did, or would do: for people and for programs."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from headrace.cli.invocation import Invocation, Output
from headrace.errors import RuleError
from headrace.runtime import Publication
from headrace.store import Created, Store

Author = Annotated[str, typer.Option(help="Who; default: the user logged in.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit log.")]
Format = Annotated[Output, typer.Option(help="table or json.")]


@contextmanager
def opened_store(run: Invocation) -> Iterator[Store]:
    """The store of the settings, until the block ends."""
    settings = run.settings
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def problems_told() -> Iterator[None]:
    """Every problem of a broken rule on standard error, then exit 1."""
    try:
        yield
    except RuleError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(1) from error


def logged_in() -> str:
    """Who runs this command, where the machine can say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return "unknown"


def tell(
    run: Invocation,
    done: Publication,
    output: Output,
    nothing: str,
    *,
    preview: Mapping[str, Any] | None = None,
) -> None:
    """Print what ``done`` changed; ``nothing`` where it changed nothing.

    JSON holds the ``preview`` of who moves, if there is one.
    """
    _tell_warnings(run, done)
    if output is Output.JSON:
        run.print_json(_as_json(done) | ({"preview": preview} if preview else {}))
    else:
        _say_changes(done, nothing)


def _tell_warnings(run: Invocation, done: Publication) -> None:
    for warning in done.applied.warnings:
        print(warning, file=sys.stderr)
    for sentence in done.unfed:
        run.err.print(f"headrace: {sentence}")
    if done.warning:
        run.err.print(f"headrace: {done.warning}")


def _say_changes(done: Publication, nothing: str) -> None:
    applied, change = done.applied, done.change
    lines = [
        came_to_be(new)
        + ("  batch only (cron)" if new.segment_id in done.batch_only else "")
        + ("  same text, new meaning" if new.segment_id in applied.renumbered else "")
        for new in applied.created
    ]
    lines += [f"- {segment}  retired" for segment in applied.retired]
    if applied.catalog_changed:
        lines.append("~ catalog")
    if done.is_new_plan:
        before = f"{done.before.hash[:12]} -> " if done.before else ""
        lines.append(f"plan {before}{done.plan.hash[:12]}")
        if done.before and change.added_slots:
            count = len(change.added_slots)
            what = "1 slot needs its" if count == 1 else f"{count} slots need their"
            lines.append(f"{what} history first: the stream goes on and builds it")
    if done.is_empty:
        lines.append(nothing)
    if applied.unchanged:
        lines.append(f"{len(applied.unchanged)} unchanged")
    sys.stdout.write("\n".join(lines) + "\n")


def came_to_be(new: Created) -> str:
    """A version, and the one that it replaces or would replace."""
    if new.replaces is None:
        return f"+ {new.segment_id}  version {new.version}"
    return f"~ {new.segment_id}  version {new.replaces} -> {new.version}"


def _as_json(done: Publication) -> dict[str, Any]:
    """The changes as one JSON value."""
    applied = done.applied
    return {
        "changed": not done.is_empty,
        "created": created_as_json(applied.created),
        "renumbered": applied.renumbered,
        "unchanged": applied.unchanged,
        "retired": applied.retired,
        "catalog_changed": applied.catalog_changed,
        "batch_only": done.batch_only,
        "plan": {
            "hash": done.plan.hash,
            "before": done.before.hash if done.before else None,
            "needs_history": list(done.change.added_slots) if done.before else [],
        },
        "warnings": [*map(str, applied.warnings), *done.unfed],
    }


def created_as_json(created: Iterable[Created]) -> list[dict[str, Any]]:
    """Versions that came to be."""
    return [
        {"segment": new.segment_id, "version": new.version, "replaces": new.replaces}
        for new in created
    ]
