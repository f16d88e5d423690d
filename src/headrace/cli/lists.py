"""``headrace lists``: who is on the lists that rules ask for, from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.progress import Progress

from headrace.cli.event_files import STDIN, opened
from headrace.cli.invocation import Invocation, Output, invoked
from headrace.cli.published import Format, logged_in
from headrace.clock import system_clock
from headrace.errors import OperatorError
from headrace.jobs.by_hand import noted
from headrace.jobs.lists import Row, Sent, csv_rows, json_rows, send
from headrace.kafka.confluent import ConfluentProducer
from headrace.lake.lists import joined_ids, on_list
from headrace.lake.tables import Tables
from headrace.messages.topics import EVENTS, in_namespace
from headrace.rules.conditions import LIST_NAME

FIRST_LINES = 5  # of each reason are named, the others are counted
JSON_LINES = (".ndjson", ".jsonl")

Name = Annotated[str, typer.Argument(help="The list, as rules name it: {list: NAME}.")]
File = Annotated[
    str,
    typer.Argument(
        help="CSV, or JSON lines if named .ndjson or .jsonl; .gz is unpacked; - is standard input."
    ),
]
Column = Annotated[str, typer.Option(help="The column, or field, that holds user ids.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check, send nothing.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Lists of users, from files.", no_args_is_help=True)
    group.command()(add)
    group.command()(remove)
    group.command()(replace)
    app.add_typer(group, name="lists")


def add(
    context: typer.Context,
    name: Name,
    file: File,
    column: Column = "user_id",
    dry_run: DryRun = False,
    output: Format = Output.TABLE,
) -> None:
    """Put the users of FILE on the list NAME; who is on it already stays.

    Lines that name nobody are told by number, the others are sent; exit code 1 then.
    """
    _change(invoked(context), name, file, column, output, on=True, dry_run=dry_run)


def remove(
    context: typer.Context,
    name: Name,
    file: File,
    column: Column = "user_id",
    dry_run: DryRun = False,
    output: Format = Output.TABLE,
) -> None:
    """Take the users of FILE off the list NAME."""
    _change(invoked(context), name, file, column, output, on=False, dry_run=dry_run)


def replace(
    context: typer.Context,
    name: Name,
    file: File,
    column: Column = "user_id",
    dry_run: DryRun = False,
    output: Format = Output.TABLE,
) -> None:
    """Let the users of FILE be the list NAME: put them on it, and take everybody else off.

    Who is on it is read from the tables; what was sent and not yet taken up is not known there.
    Nothing is sent when a line names nobody: it may have meant somebody who would be taken off.
    """
    run = invoked(context)
    _require_name(name)
    with _watched(run, file) as lines:
        rows = list(_rows(file, lines, column))
    bad = [number for number, user, _ in rows if user is None]
    if bad or not rows:
        trouble = f"lines that name nobody ({_numbers(bad)})" if bad else "nobody in it"
        raise OperatorError(f"{file} has {trouble}; nothing was sent", code="HR963")
    tables = Tables(run.settings.tables_root)
    joined = joined_ids(tables)
    stay = {joined.get(user, user) for _, user, _ in rows if user is not None}
    leave = sorted(on_list(tables, name) - stay)
    with _sending(run, name, file, dry_run=dry_run) as put:
        put(((0, user, "") for user in leave), on=False)
        done = put(rows, on=True)
    if output is Output.JSON:
        run.print_json(
            {"list": name, "dry_run": dry_run, "on": done.users, "off": len(leave), "bad": {}}
        )
        return
    would = "would be " if dry_run else ""
    run.err.print(
        f"{done.users:,} users {would}put on the list {name}, {len(leave):,} {would}taken off"
    )


def _require_name(name: str) -> None:
    if LIST_NAME.fullmatch(name) is None:
        raise typer.BadParameter(f"a list is named with A to Z, 0 to 9, _ and -, not {name!r}")


def _rows(file: str, lines: Iterator[bytes], column: str) -> Iterator[Row]:
    suffix = Path(file.removesuffix(".gz")).suffix
    return (json_rows if suffix in JSON_LINES else csv_rows)(lines, column)


def _numbers(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:FIRST_LINES]))
    more = f" and {len(lines) - FIRST_LINES:,} more" if len(lines) > FIRST_LINES else ""
    return f"lines {shown}{more}"


def _change(
    run: Invocation,
    name: str,
    file: str,
    column: str,
    output: Output,
    *,
    on: bool,
    dry_run: bool,
) -> None:
    _require_name(name)
    with _watched(run, file) as lines, _sending(run, name, file, dry_run=dry_run) as put:
        done = put(_rows(file, lines, column), on=on)
    _print(run, name, done, output, on=on, dry_run=dry_run)
    if done.bad:
        raise typer.Exit(1)


class _Put(Protocol):
    def __call__(self, rows: Iterable[Row], *, on: bool) -> Sent:
        """Put users on the list, or take them off."""


@contextmanager
def _sending(run: Invocation, name: str, file: str, *, dry_run: bool) -> Iterator[_Put]:
    """Changes of the list ``name``, all of one instant; in a dry run none is sent, or noted."""
    settings, now = run.settings, system_clock()
    topic = in_namespace(settings.namespace, EVENTS)
    if dry_run:
        yield partial(send, None, topic, name, at=now)
        return
    told: dict[str, int] = {"bad": 0}
    about = {"list": name, "file": Path(file).name, "by": logged_in()}
    with (
        noted(settings, "list", about) as note,
        ConfluentProducer(settings.kafka_bootstrap) as producer,
    ):

        def put(rows: Iterable[Row], *, on: bool) -> Sent:
            done = send(producer, topic, name, rows, on=on, at=now)
            told["on" if on else "off"] = done.users
            told["bad"] += sum(map(len, done.bad.values()))
            note(told)
            return done

        yield put


@contextmanager
def _watched(run: Invocation, file: str) -> Iterator[Iterator[bytes]]:
    """The lines of ``file``; on a terminal a bar says how many of its bytes are read."""
    is_plain = file != STDIN and not file.endswith(".gz") and Path(file).is_file()
    size = Path(file).stat().st_size if is_plain else None
    bar = Progress(console=run.err, transient=True, disable=not run.err.is_terminal)
    with opened(file) as lines, bar:
        task = bar.add_task(f"reading {file}", total=size)

        def counted() -> Iterator[bytes]:
            for line in lines:
                bar.advance(task, len(line))
                yield line

        yield counted()


def _print(
    run: Invocation, name: str, done: Sent, output: Output, *, on: bool, dry_run: bool
) -> None:
    if output is Output.JSON:
        told = {"list": name, "on": on, "dry_run": dry_run, "sent": done.users, "bad": done.bad}
        run.print_json(told)
        return
    for reason, numbers in done.bad.items():
        run.err.print(f"{len(numbers):,} lines name nobody: {reason} ({_numbers(numbers)})")
    would = "would be " if dry_run else ""
    run.err.print(f"{done.users:,} users {would}{'put on' if on else 'taken off'} the list {name}")
