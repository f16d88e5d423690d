"""``headrace apply``, ``headrace plan`` and ``headrace plan show``: rules into what runs."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headrace.cli.invocation import Invocation, Output, invoked
from headrace.cli.sound import sound_rules
from headrace.clock import DAY
from headrace.errors import OperatorError, RuleError
from headrace.plan.build import SegmentVersion, build_plan, streamed
from headrace.plan.explain import explain
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.folder import load_rules
from headrace.rules.source import Rules
from headrace.runtime import JOB, Publication, publish
from headrace.store import Store

CHANGES = 3  # the exit code of --detailed-exitcode


class Shown(StrEnum):
    """How ``plan show`` prints."""

    JSON = "json"
    TEXT = "text"


class _PlanGroup(TyperGroup):
    """``plan`` is a command with a folder; only a word that is a subcommand means that."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = ["changes", *args]
        return super().parse_args(ctx, args)


RulesFolder = Annotated[
    Path | None, typer.Argument(metavar="RULES", help="A folder of rules; default: the setting.")
]
Prune = Annotated[bool, typer.Option("--prune", help="Retire segments that RULES does not name.")]
Format = Annotated[Output, typer.Option(help="table or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(apply)
    plan = typer.Typer(
        cls=_PlanGroup,
        help="What `apply RULES` would do: `headrace plan [RULES]`; or what runs: `plan show`.",
        subcommand_metavar="[RULES] | show [HASH]",
    )
    plan.command("changes")(changes)
    plan.command("show")(show)
    app.add_typer(plan, name="plan")


def apply(
    context: typer.Context,
    rules: RulesFolder = None,
    author: Annotated[str, typer.Option(help="Who; default: the user logged in.")] = "",
    reason: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
    prune: Prune = False,
    output: Format = Output.TABLE,
) -> None:
    """Make RULES the active rules and hand the stream their plan.

    Unchanged rules make no version. A broken rule stops everything; what runs stays as it is.
    """
    run = invoked(context)
    with _store(run) as store:
        done = _published(run, store, rules, author=author, reason=reason, prune=prune)
    if output is Output.JSON:
        run.print_json(_as_json(done))
    else:
        _say_changes(done, "no changes: these rules are active already")


def changes(
    context: typer.Context,
    rules: RulesFolder = None,
    prune: Prune = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 3 when there are changes.")
    ] = False,
    explained: Annotated[
        bool, typer.Option("--explain", help="Only the plan that RULES make; needs no server.")
    ] = False,
    output: Format = Output.TABLE,
) -> None:
    """Print what `apply RULES` would do, and the plan it would make; change nothing."""
    run = invoked(context)
    if explained:
        found = sound_rules(_folder(run, rules), retention=_retention(run))
        plan = _compiled(found)
        sys.stdout.write(plan.to_json() + "\n" if output is Output.JSON else explain(plan))
        if output is not Output.JSON:
            _say_batch_only({s.id: s.refresh for s in found.segments if s.is_batch_only})
        return
    with _store(run) as store:
        wanted = _published(run, store, rules, prune=prune, dry_run=True)
    if output is Output.JSON:
        run.print_json(_as_json(wanted))
    else:
        _say_changes(wanted, "no changes")
        sys.stdout.write("\n" + explain(wanted.plan).rstrip() + "\n")
        _say_batch_only(wanted.batch_only)
    if detailed_exitcode and not wanted.is_empty:
        raise typer.Exit(CHANGES)


def _compiled(rules: Rules) -> Plan:
    """The plan of ``rules`` alone, as if it were the first."""
    versions = [SegmentVersion(segment, 1) for segment in rules.segments]
    return build_plan(streamed(versions), rules.catalog, MemoryRegistry(), JobParameters())


def _folder(run: Invocation, folder: Path | None) -> Path:
    return folder or run.loaded.root / run.settings.rules


def _retention(run: Invocation) -> int:
    return run.settings.retention.events_days * DAY


def show(
    context: typer.Context,
    hash: Annotated[
        str | None, typer.Argument(help="A plan's hash, or its beginning; default: the target.")
    ] = None,
    output: Annotated[Shown, typer.Option(help="Canonical JSON, or for people.")] = Shown.JSON,
) -> None:
    """Print a plan; to standard error, since which batch the stream runs it."""
    run = invoked(context)
    with _store(run) as store:
        found = store.plan(hash) if hash else store.target_plan(JOB)
        if found is None:
            missing = f"no plan, or several, begin with {hash!r}" if hash else "no plan is active"
            raise OperatorError(f"{missing}; `headrace apply RULES` makes one", code="HR930")
        standing = _standing(store, found.hash)
    if output is Shown.TEXT:
        sys.stdout.write(explain(Plan.from_json(found.text)).rstrip() + "\n")
    else:
        sys.stdout.write(found.text + "\n")
    run.err.print(f"plan {found.hash}: {standing}")


def _standing(store: Store, content: str) -> str:
    running = store.running_plan(JOB)
    if running is not None and running.plan_hash == content:
        return f"runs since batch {running.since_batch} ({running.at:%Y-%m-%d %H:%M:%S %Z})"
    if store.target_hash(JOB) == content:
        return "the stream has yet to take it up"
    earlier = store.execution_of(JOB, content)
    return f"ran from batch {earlier.since_batch} on, until replaced" if earlier else "never ran"


@contextmanager
def _store(run: Invocation) -> Iterator[Store]:
    settings = run.settings
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        yield store
    finally:
        store.close()


def _published(
    run: Invocation,
    store: Store,
    folder: Path | None,
    *,
    author: str = "",
    reason: str = "",
    prune: bool,
    dry_run: bool = False,
) -> Publication:
    settings = run.settings
    rules = load_rules(_folder(run, folder), retention=_retention(run))
    try:
        done = publish(
            store,
            settings,
            rules,
            author=author or _user(),
            reason=reason,
            prune=prune,
            dry_run=dry_run,
        )
    except RuleError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(1) from error
    for warning in done.applied.warnings:
        print(warning, file=sys.stderr)
    if done.warning:
        run.err.print(f"headrace: {done.warning}")
    return done


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return "unknown"


def _say_changes(done: Publication, nothing: str) -> None:
    applied, change = done.applied, done.change
    lines = [
        (
            f"+ {new.segment_id}  version {new.version}"
            if new.replaces is None
            else f"~ {new.segment_id}  version {new.replaces} -> {new.version}"
        )
        + ("  batch only (cron)" if new.segment_id in done.batch_only else "")
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


def _say_batch_only(refresh: Mapping[str, str]) -> None:
    if refresh:
        lines = [f"  {segment}  {line}" for segment, line in sorted(refresh.items())]
        sys.stdout.write("\n".join(["\nbatch only (cron), not in this plan:", *lines]) + "\n")


def _as_json(done: Publication) -> dict[str, Any]:
    applied = done.applied
    return {
        "changed": not done.is_empty,
        "created": [
            {"segment": new.segment_id, "version": new.version, "replaces": new.replaces}
            for new in applied.created
        ],
        "unchanged": applied.unchanged,
        "retired": applied.retired,
        "catalog_changed": applied.catalog_changed,
        "batch_only": done.batch_only,
        "plan": {
            "hash": done.plan.hash,
            "before": done.before.hash if done.before else None,
            "needs_history": list(done.change.added_slots) if done.before else [],
        },
        "warnings": [str(warning) for warning in applied.warnings],
    }
