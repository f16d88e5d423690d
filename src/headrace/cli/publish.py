"""``headrace apply``, ``headrace plan`` and ``headrace plan show``: rules into what runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headrace.cli.invocation import Invocation, Output, invoked
from headrace.cli.preview import as_text, previewed
from headrace.cli.published import (
    Author,
    Format,
    Reason,
    came_to_be,
    created_as_json,
    logged_in,
    opened_store,
    problems_told,
    tell,
)
from headrace.cli.sound import sound_rules
from headrace.clock import DAY
from headrace.errors import OperatorError
from headrace.plan.build import SegmentVersion, build_plan, streamed
from headrace.plan.explain import explain
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.folder import load_rules
from headrace.rules.source import Rules
from headrace.runtime import JOB, Publication, keep_drafts, publish
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
    author: Author = "",
    reason: Reason = "",
    prune: Prune = False,
    draft: Annotated[
        bool, typer.Option("--draft", help="Only keep them, for `headrace activate`.")
    ] = False,
    output: Format = Output.TABLE,
) -> None:
    """Make RULES the active rules and hand the stream their plan.

    Unchanged rules make no version. A broken rule stops everything; what runs stays as it is.
    """
    run = invoked(context)
    if draft and prune:
        raise typer.BadParameter("--draft retires nothing: leave out --prune")
    with opened_store(run) as store:
        if draft:
            _keep_drafts(run, store, rules, author=author, reason=reason, output=output)
            return
        done = _published(run, store, rules, author=author, reason=reason, prune=prune)
    tell(run, done, output, "no changes: these rules are active already")


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
    preview: Annotated[
        bool, typer.Option("--preview", help="Also who would enter and leave, by a Spark job.")
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
    with opened_store(run) as store:
        wanted = _published(run, store, rules, prune=prune, dry_run=True)
    told = previewed(run, wanted) if preview else None
    tell(run, wanted, output, "no changes", preview=told)
    if output is not Output.JSON:
        sys.stdout.write("\n" + as_text(told) if told else "")
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
    with opened_store(run) as store:
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
    with problems_told():
        return publish(
            store,
            run.settings,
            load_rules(_folder(run, folder), retention=_retention(run)),
            author=author or logged_in(),
            reason=reason,
            prune=prune,
            dry_run=dry_run,
        )


def _keep_drafts(
    run: Invocation, store: Store, folder: Path | None, *, author: str, reason: str, output: Output
) -> None:
    rules = load_rules(_folder(run, folder), retention=_retention(run))
    with problems_told():
        kept = keep_drafts(store, run.settings, rules, author=author or logged_in(), reason=reason)
    for warning in kept.warnings:
        print(warning, file=sys.stderr)
    if kept.has_other_catalog:
        run.err.print(
            "headrace: the catalog of RULES is not the one in force; drafts do not change it: "
            "apply it before you activate what needs it"
        )
    if output is Output.JSON:
        drafts = created_as_json(kept.created)
        run.print_json({"drafts": drafts, "unchanged": kept.unchanged})
        return
    lines = [f"{came_to_be(new)}  draft" for new in kept.created]
    lines = lines or ["no drafts: these texts are active or drafts already"]
    sys.stdout.write("\n".join(lines) + "\n")


def _say_batch_only(refresh: Mapping[str, str]) -> None:
    if refresh:
        lines = [f"  {segment}  {line}" for segment, line in sorted(refresh.items())]
        sys.stdout.write("\n".join(["\nbatch only (cron), not in this plan:", *lines]) + "\n")
