"""``headrace validate`` and ``headrace evaluate``: rules on files, without any server."""

from __future__ import annotations

import csv
import io
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli.event_files import STDIN, EventLines, listed_users
from headrace.cli.invocation import Invocation, invoked
from headrace.cli.sarif import as_sarif
from headrace.cli.sound import sound_rules, write
from headrace.clock import DAY, format_instant, parse_instant
from headrace.errors import OperatorError, Problem
from headrace.rules.folder import load_rules
from headrace.rules.leaves import as_json, as_text
from headrace.rules.model import InList, conditions_of, leaves
from headrace.rules.reference import Explanation, explain_user, reference_members
from headrace.rules.source import Rules

Members = list[tuple[str, str]]


class Engine(StrEnum):
    """Who evaluates. All print the same bytes."""

    KERNEL = "kernel"
    REFERENCE = "reference"
    SPARK = "spark"


class Findings(StrEnum):
    """How ``validate`` prints."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class Rows(StrEnum):
    """How ``evaluate`` prints."""

    CSV = "csv"
    JSON = "json"
    TABLE = "table"


RulesFolder = Annotated[
    Path, typer.Argument(metavar="RULES", help="A folder with catalog.yaml and segments/.")
]


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.command()(validate)
    app.command()(evaluate)


def validate(
    context: typer.Context,
    rules: RulesFolder = Path("rules"),
    output: Annotated[Findings, typer.Option(help="How to print.")] = Findings.TEXT,
) -> None:
    """Check catalog and segments; exit 1 with all problems when a rule is broken."""
    run = invoked(context)
    found = load_rules(rules, retention=run.settings.retention.events_days * DAY)
    match output:
        case Findings.JSON:
            run.print_json(
                {
                    "segments": [segment.id for segment in found.segments],
                    "problems": [_problem(problem) for problem in found.problems],
                }
            )
        case Findings.SARIF:
            run.print_json(as_sarif(found.problems))
        case Findings.TEXT:
            for problem in found.problems:
                write(f"{_line(problem)}\n")
            if not found.errors:
                plural = "segment" if len(found.segments) == 1 else "segments"
                write(f"{len(found.segments)} {plural}, no errors\n")
    if found.errors:
        raise typer.Exit(1)


def evaluate(
    context: typer.Context,
    rules: RulesFolder,
    events: Annotated[
        str, typer.Option(help="Events, one JSON object a line; .gz too; - is standard input.")
    ],
    at: Annotated[str, typer.Option(metavar="INSTANT", help="RFC 3339, or epoch milliseconds.")],
    traits: Annotated[str | None, typer.Option(help="More lines, of traits.")] = None,
    lists: Annotated[
        Path | None, typer.Option(help="A folder of NAME.csv, one user id a line.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="All print the same bytes.")] = Engine.KERNEL,
    explain: Annotated[
        str | None, typer.Option(metavar="USER", help="Say why, value by value, for one user.")
    ] = None,
    output: Annotated[Rows, typer.Option(help="How to print.")] = Rows.CSV,
) -> None:
    """Print who is in which segment at an instant, from files alone."""
    run = invoked(context)
    instant = _instant(at)
    loaded = sound_rules(rules)
    files = [events, *([traits] if traits is not None else [])]
    lines = EventLines(files, listed_users(lists) if lists is not None else ())
    for name in _absent_lists(loaded, lists):
        print(f"nobody is on the list {name!r}: --lists names no {name}.csv", file=sys.stderr)
    if explain is not None or engine is not Engine.SPARK:
        loaded = _without_sql(loaded)
    if explain is not None:
        told = explain_user(lines, loaded.segments, loaded.catalog, instant, explain)
        if told is None:
            raise OperatorError(f"nobody knows user {explain!r} at {at}", code="HR904")
        _print_explanations(run, explain, instant, told, output)
        return
    members = _evaluate(engine, rules, loaded, files, lines, instant)
    for sentence in lines.summary():
        print(sentence, file=sys.stderr)
    _print_members(run, members, output)


def _absent_lists(rules: Rules, folder: Path | None) -> list[str]:
    """The lists that segments look at and ``folder`` does not hold."""
    conditions = [part for one in rules.segments for part in conditions_of(one)]
    looked_at = {
        leaf.name for part in conditions for leaf in leaves(part) if isinstance(leaf, InList)
    }
    there = {file.stem for file in folder.glob("*.csv")} if folder is not None else set()
    return sorted(looked_at - there)


def _without_sql(rules: Rules) -> Rules:
    """The segments that are no statements; says of each that is that it is left out."""
    for segment in rules.segments:
        if segment.sql:
            what = f"left out {segment.id}: batch only (cron), in SQL; --engine spark evaluates it"
            print(what, file=sys.stderr)
    return replace(rules, segments=tuple(one for one in rules.segments if not one.sql))


def _evaluate(
    engine: Engine,
    folder: Path,
    rules: Rules,
    files: Sequence[str],
    lines: EventLines,
    at: int,
) -> Members:
    # Engines are imported when they are asked for: the others' libraries take seconds to load.
    match engine:
        case Engine.REFERENCE:
            return reference_members(
                lines, rules.segments, rules.catalog, at, on_bad_line=lines.note
            )
        case Engine.KERNEL:
            from headrace.engine.evaluate import evaluate as by_kernel

            return by_kernel(lines, rules.segments, rules.catalog, at, on_bad_line=lines.note)
        case Engine.SPARK:
            return _by_spark(folder, files, lines, at)


def _by_spark(folder: Path, files: Sequence[str], lines: EventLines, at: int) -> Members:
    from headrace.jobs.evaluate_spark import evaluate as by_spark

    with ExitStack() as stack:
        for file in files:
            if file != STDIN and not Path(file).is_file():
                raise OperatorError(f"cannot read {file}: no such file", code="HR903")
        if STDIN in files or lines.has_more:
            # Spark reads files: what comes from elsewhere goes into one.
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "events.jsonl"
            with copy.open("wb") as target:
                for line in lines:
                    target.write(line + b"\n")
            files = [str(copy)]
        members, refused = by_spark(folder, files, at)
    for reason, count in sorted(refused.items()):
        print(f"skipped {count:,} lines: {reason}", file=sys.stderr)
    return sorted(members)


def _instant(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 15 and len(text) != 10:
        return int(text)
    try:
        instant = parse_instant(text)
    except ValueError:
        instant = -1
    if instant < 0:
        message = f"--at {text!r} is not an instant: write 2026-01-31T09:00:00Z or milliseconds"
        raise OperatorError(message, code="HR904")
    return instant


def _line(problem: Problem) -> str:
    if problem.severity == "error":
        return str(problem)
    return str(problem).replace(f"{problem.place}: ", f"{problem.place}: {problem.severity}: ", 1)


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
        "hint": problem.hint,
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
    }


def _print_members(run: Invocation, members: Members, output: Rows) -> None:
    match output:
        case Rows.CSV:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(("segment", "user_id"))
            writer.writerows(members)
            write(text.getvalue())
        case Rows.JSON:
            run.print_json([{"segment": segment, "user_id": user} for segment, user in members])
        case Rows.TABLE:
            run.print_table(("segment", "user_id"), members)


def _print_explanations(
    run: Invocation, user: str, at: int, told: Sequence[Explanation], output: Rows
) -> None:
    if output is Rows.JSON:
        run.print_json(
            [
                {
                    "segment": explanation.segment,
                    "user_id": user,
                    "member": explanation.member,
                    "conditions": [as_json(leaf) for leaf in explanation.leaves],
                }
                for explanation in told
            ]
        )
        return
    for explanation in told:
        verb = "is" if explanation.member else "is not"
        write(f"{user} {verb} in {explanation.segment} at {format_instant(at)}\n")
        for leaf in explanation.leaves:
            write(f"  {as_text(leaf)}\n")
