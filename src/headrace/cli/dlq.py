"""``headrace dlq``: rejected messages, shown, counted, and sent again."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli.invocation import Invocation, Output, invoked
from headrace.cli.published import Format, logged_in, opened_store, problems_told
from headrace.clock import format_instant
from headrace.errors import Problem, RuleError
from headrace.jobs.letters import Letter, Replay, dead_letters, portions, replay, require_all
from headrace.rules.fixes import Fix, parse_fix
from headrace.rules.folder import read_file

Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only those rejected for it; may be repeated.")
]
SHOWN_UNFIXABLE = 20


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Rejected messages (dead letters).", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command()(show)
    group.command("replay")(replay_letters)
    app.add_typer(group, name="dlq")


def list_letters(
    context: typer.Context, reason: Reasons = None, output: Format = Output.TABLE
) -> None:
    """How many messages were rejected for what, how many of them wait to be sent again."""
    run = invoked(context)
    total: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    newest: dict[str, Letter] = {}
    with opened_store(run) as store:
        for letters in portions(dead_letters(run.settings, _of(reason))):
            again = store.replayed([letter.dead.place for letter in letters])
            for letter in letters:
                of = letter.dead.reason
                total[of] += 1
                sent[of] += letter.dead.place in again
                newest[of] = max(newest.get(of, letter), letter, key=lambda one: one.at)
    rows = [
        {
            "reason": of,
            "messages": count,
            "waiting": count - sent[of],
            "newest": newest[of].dead.place,
            "rejected_at": format_instant(newest[of].at),
        }
        for of, count in total.most_common()
    ]
    if output is Output.JSON:
        run.print_json(rows)
    else:
        columns = ("reason", "messages", "waiting", "newest", "rejected_at")
        run.print_table(columns, [[str(row[name]) for name in columns] for row in rows])


def show(
    context: typer.Context,
    places: Annotated[
        list[str], typer.Argument(metavar="PLACE...", help="topic/partition/offset, as listed.")
    ],
    output: Format = Output.TABLE,
) -> None:
    """The messages of these places as they came, and why each was rejected."""
    run = invoked(context)
    letters = list(dead_letters(run.settings, _at(places)))
    require_all(letters, places)
    with opened_store(run) as store:
        again = store.replayed(places)
    if output is Output.JSON:
        run.print_json([_told(letter, letter.dead.place in again) for letter in letters])
        return
    for letter in letters:
        state = "sent again" if letter.dead.place in again else "waiting"
        run.err.print(f"{letter.dead.place}: {letter.dead.reason}, {state}")
        run.out.print(letter.dead.raw.decode(errors="backslashreplace"), markup=False)


def replay_letters(
    context: typer.Context,
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[PLACE...]", help="Only these; default: all.")
    ] = None,
    reason: Reasons = None,
    fix: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="How they are repaired: docs/dead-letters.md."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and send nothing.")] = False,
    output: Format = Output.TABLE,
) -> None:
    """Send rejected messages again, repaired by a fix or as they were, each at most once.

    As they were is right after the catalog was mended. What is rejected once more is a new letter.
    Exit code 1 when some could not be repaired.
    """
    run = invoked(context)
    found = _fix(fix) if fix is not None else None
    if places and reason:
        raise typer.BadParameter("name places or reasons, not both")
    chosen = _at(places) if places else _of(reason)

    def concerned(letter: Letter) -> bool:
        return chosen(letter) and (found is None or found.concerns(letter.dead.reason))

    with opened_store(run) as store, run.err.status("reading the dead letters"):
        letters: Iterable[Letter] = dead_letters(run.settings, concerned)
        if places:
            letters = list(letters)
            require_all(letters, places)
        done = replay(run.settings, store, letters, fix=found, by=logged_in(), dry_run=dry_run)
    _print(run, done, output, dry_run)
    if done.unfixable:
        raise typer.Exit(1)


def _fix(file: Path) -> Fix:
    with problems_told():
        problems: list[Problem] = []
        text = read_file(file, problems)
        if text is None:
            raise RuleError(problems)
        return parse_fix(text, str(file))


def _of(reasons: Sequence[str] | None) -> Callable[[Letter], bool]:
    return lambda letter: not reasons or letter.dead.reason in reasons


def _at(places: Sequence[str]) -> Callable[[Letter], bool]:
    wanted = frozenset(places)
    return lambda letter: letter.dead.place in wanted


def _told(letter: Letter, is_sent: bool) -> dict[str, Any]:
    try:
        raw = {"text": letter.dead.raw.decode()}
    except UnicodeDecodeError:
        raw = {"base64": base64.b64encode(letter.dead.raw).decode()}
    return {
        "place": letter.dead.place,
        "reason": letter.dead.reason,
        "rejected_at": format_instant(letter.at),
        "sent_again": is_sent,
        **raw,
    }


def _print(run: Invocation, done: Replay, output: Output, dry_run: bool) -> None:
    if output is Output.JSON:
        told = {"sent": done.sent, "sent_before": done.before, "unfixable": done.unfixable}
        run.print_json({"dry_run": dry_run, **told})
        return
    for place, why in list(done.unfixable.items())[:SHOWN_UNFIXABLE]:
        run.err.print(f"{place}: {why}")
    verb = "would be sent" if dry_run else "sent"
    run.out.print(
        f"{done.sent:,} {verb} again, {done.before:,} were before,"
        f" {len(done.unfixable):,} cannot be repaired"
    )
