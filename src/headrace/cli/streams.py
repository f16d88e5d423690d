"""``headrace streams``: topics of others, read as events of ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from headrace.cli.event_files import FIRST_LINES, opened
from headrace.cli.invocation import Invocation, Output, invoked
from headrace.cli.published import Author, Format, Reason, logged_in, opened_store, problems_told
from headrace.cli.servers import start_connect
from headrace.clock import SECOND, format_instant, system_clock
from headrace.databases.proposal import proposed
from headrace.databases.tables import look_at, parted
from headrace.embedded import passwords
from headrace.errors import OperatorError, Problem, RuleError
from headrace.jobs.stream_trial import Trial, newest_messages, tried
from headrace.rules.catalog import Catalog
from headrace.rules.folder import read_file
from headrace.rules.source import did_you_mean
from headrace.rules.streams import Stream, document, parse_stream
from headrace.rules.streams.databases import url_problem
from headrace.rules.streams.inference import propose
from headrace.rules.streams.spelling import yaml_text
from headrace.runtime import JOB, streams
from headrace.serving.streams import LAUNCHES, StreamHealth, health_of
from headrace.store import StoredStream

File = Annotated[Path, typer.Argument(help="A document of kind Stream: docs/streams.md.")]
Id = Annotated[str, typer.Argument(metavar="STREAM", help="Its id.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Topics of others, read as events.", no_args_is_help=True)
    group.command()(infer)
    group.command("try")(try_out)
    group.command()(add)
    group.command()(activate)
    group.command()(pause)
    group.command()(retire)
    group.command("list")(list_streams)
    group.command()(show)
    app.add_typer(group, name="streams")


def infer(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="STREAM", help="The id that it shall have.")],
    topic: Annotated[str, typer.Option(help="Its topic.")],
    sample: Annotated[
        str | None, typer.Option(metavar="FILE", help="Messages, one a line; - is standard input.")
    ] = None,
    newest: Annotated[
        int, typer.Option(help="Without a sample: so many messages of the topic.", min=1)
    ] = 1_000,
    type: Annotated[
        str | None, typer.Option(help="Every message is an event of this type.")
    ] = None,
) -> None:
    """Propose a document for messages like these, to be read and corrected; doubts are told.

    Exit code 1 when it lacks something that events need.
    """
    run = invoked(context)
    try:
        found = propose(_messages(run, topic, sample, newest), id=id, topic=topic, type=type)
    except ValueError as error:
        raise OperatorError(str(error), code="HR962") from error
    run.out.print(yaml_text(found.stream).rstrip(), markup=False, soft_wrap=True)
    for doubt in found.doubts:
        run.err.print(doubt, markup=False)
    if not {"type", "user_id", "ts"} <= found.stream.map.fields.keys():
        raise typer.Exit(1)


def _messages(run: Invocation, topic: str, sample: str | None, newest: int) -> list[bytes]:
    """Those of a file, or the newest of a topic."""
    if sample is None:
        return list(newest_messages(run.settings, topic, newest))
    with opened(sample) as lines:
        return [line.rstrip(b"\r\n") for line in lines if line.strip()]


def try_out(
    context: typer.Context,
    file: File,
    sample: Annotated[
        str | None, typer.Option(metavar="FILE", help="Messages, one a line; - is standard input.")
    ] = None,
    newest: Annotated[
        int, typer.Option(help="Without a sample: so many messages of the topic.", min=1)
    ] = 100,
    output: Format = Output.TABLE,
) -> None:
    """Say what would become of messages. Nothing is sent or kept.

    Exit code 1 when some would be rejected.
    """
    run = invoked(context)
    stream = _read(file)
    if stream.format == "avro" and sample is not None:
        message = f"{sample}: messages of Avro are no lines (--newest N tries those of the topic)"
        raise OperatorError(message, code="HR962")
    with opened_store(run) as store:
        catalog = store.catalog() or Catalog()
    messages = _messages(run, stream.topic, sample, newest)
    trial = tried(stream, messages, catalog=catalog, now=system_clock(), settings=run.settings)
    _print_trial(run, trial, output)
    if trial.rejected:
        raise typer.Exit(1)


def add(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A document of kind Stream: docs/streams.md.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Instead of a file: postgresql://user@host/name; the password may be PGPASSWORD.",
        ),
    ] = None,
    table: Annotated[str | None, typer.Option(help="The table whose rows it brings.")] = None,
    id: Annotated[str | None, typer.Option(help="The id of the stream: the table's.")] = None,
    user: Annotated[str | None, typer.Option(help="The column that names the user.")] = None,
    type: Annotated[
        str | None, typer.Option(help="New rows are events of this type; default: rows are traits.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Of events: the column that says when they happened.")
    ] = None,
    watermark: Annotated[
        str | None,
        typer.Option(help="Where there is no log: the column that says when a row was changed."),
    ] = None,
    activated: Annotated[
        bool, typer.Option("--activate", help="Read it from now on, too.")
    ] = False,
    incompatible: Annotated[
        bool, typer.Option(help="Also when it would no longer bring what it brings.")
    ] = False,
    author: Author = "",
    reason: Reason = "",
) -> None:
    """Keep a version of a stream; nothing reads it before it is activated.

    Refused when rules may rest on something that the version in force brings and this would not.
    """
    run = invoked(context)
    by = author or logged_in()
    if file is not None and database is None and table is None:
        stream, password = _read(file), os.environ.get("PGPASSWORD", "")
    elif file is None and database is not None and table is not None:
        stream, password = _of_table(run, database, table, id, user, type, time, watermark)
    else:
        raise OperatorError("name a FILE, or --database and --table", code="HR973")
    with opened_store(run) as store:
        number = streams.add_stream(
            store, run.settings, stream, author=by, reason=reason, incompatible=incompatible
        )
        if stream.database is not None and password:
            passwords.keep(run.settings, stream.id, password)
            if run.settings.connect.passwords and stream.is_connected:
                name = f"{run.settings.namespace}{stream.id}"
                place = run.settings.connect.passwords
                run.err.print(
                    f"the workers of Kafka Connect need a line {name}=PASSWORD in {place}"
                )
        run.err.print(f"{stream.id}: version {number} is kept")
    if activated:
        activate(context, stream.id, number, author, reason)


def _of_table(
    run: Invocation,
    database: str,
    table: str,
    id: str | None,
    user: str | None,
    type: str | None,
    time: str | None,
    watermark: str | None,
) -> tuple[Stream, str]:
    """A stream of the rows of a table, told as it is kept; and the database's password."""
    url, given = parted(database)
    problem = url_problem(url)
    if problem is not None:
        raise OperatorError(problem.replace("'url'", "--database"), code="HR973")
    password = given or os.environ.get("PGPASSWORD", "")
    looked = look_at(url, password, table)
    if not looked.has_log and watermark is None:
        raise OperatorError(
            f"the log of {looked.name}'s database does not tell of changes: ALTER SYSTEM SET"
            " wal_level = logical, and start it anew; or let --watermark name the column that says"
            " when a row was changed (docs/streams.md)",
            code="HR970",
        )
    name = id or looked.name.rpartition(".")[2].lower()
    found = proposed(
        looked, url, id=name, namespace=run.settings.namespace,
        user=user, type=type, time=time, watermark=watermark,
    )  # fmt: skip
    text = yaml_text(found.stream)
    run.out.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)
    for doubt in found.doubts:
        run.err.print(doubt, markup=False)
    with problems_told():
        return parse_stream(text, f"{name} as proposed"), password


def activate(
    context: typer.Context,
    stream: Id,
    version: Annotated[int | None, typer.Option(help="Default: the newest.")] = None,
    author: Author = "",
    reason: Reason = "",
) -> None:
    """Read a stream, in its newest version; one that was paused goes on where it was left."""
    run = invoked(context)
    with opened_store(run) as store, problems_told():
        done = streams.activate_stream(
            store, run.settings, stream, version=version, author=author or logged_in(),
            reason=reason,
        )  # fmt: skip
    active = next(one for one in done.plan.streams if one.id == stream)
    if active.is_connected:
        start_connect(run.settings)
    run.err.print(f"{stream} is active: {active.topic} is read within seconds")


def pause(context: typer.Context, stream: Id, author: Author = "", reason: Reason = "") -> None:
    """Read a stream no further for now."""
    run = invoked(context)
    with opened_store(run) as store, problems_told():
        done = streams.pause_stream(
            store, run.settings, stream, author=author or logged_in(), reason=reason
        )
    run.err.print(f"{stream} is paused: what its topic holds is kept for as long as the topic does")
    for sentence in done.unfed:
        run.err.print(f"headrace: {sentence}")


def retire(context: typer.Context, stream: Id, author: Author = "", reason: Reason = "") -> None:
    """Read a stream no more. Its events stay, and so does its topic."""
    run = invoked(context)
    with opened_store(run) as store, problems_told():
        streams.retire_stream(
            store, run.settings, stream, author=author or logged_in(), reason=reason
        )
    run.err.print(f"{stream} is retired")


def list_streams(context: typer.Context, output: Format = Output.TABLE) -> None:
    """All streams, and how each is."""
    run = invoked(context)
    with opened_store(run) as store:
        found, launches = store.streams(), store.progress(JOB, limit=LAUNCHES)
    target = run.settings.freshness_seconds * SECOND
    now = system_clock()
    rows = [
        _as_json(one) | _as_told(health_of(one, launches, None, now=now, target=target))
        for one in found
    ]
    if output is Output.JSON:
        run.print_json(rows)
        return
    columns = (
        "stream", "state", "version", "topic", "accepted", "rejected", "rate", "last event",
        "reasons", "owner",
    )  # fmt: skip
    run.print_table(columns, [[_cell(row[name]) for name in columns] for row in rows])
    for row in rows:
        if row["why"]:
            run.err.print(f"{row['stream']} is {row['state']}: {row['why']}")


def show(context: typer.Context, stream: Id, output: Format = Output.TABLE) -> None:
    """The document of a stream, as it is kept."""
    run = invoked(context)
    with opened_store(run) as store:
        known = {one.id: one for one in store.streams()}
    if stream not in known:
        hint = did_you_mean(stream, known) or f"there are: {', '.join(known) or 'none'}"
        raise OperatorError(f"no stream {stream!r} ({hint})", code="HR947")
    found = known[stream]
    if output is Output.JSON:
        run.print_json({**_as_json(found), "document": document(found.stream)})
        return
    run.err.print(f"{found.id} version {found.version}, {found.state} since {_cell(found.since)}")
    text = orjson.dumps(document(found.stream), option=orjson.OPT_INDENT_2).decode()
    run.out.print(text, markup=False, highlight=False, soft_wrap=True)


def _read(file: Path) -> Stream:
    with problems_told():
        problems: list[Problem] = []
        text = read_file(file, problems)
        if text is None:
            raise RuleError(problems)
        return parse_stream(text, str(file), lambda name: (file.parent / name).read_text("utf-8"))


def _as_json(stored: StoredStream) -> dict[str, Any]:
    stream = stored.stream
    return {
        "stream": stored.id,
        "state": stored.state,
        "version": stored.version,
        "newest": stored.newest,
        "topic": stream.topic,
        "format": stream.format,
        "types": list(stream.types),
        "owner": stream.owner,
        "since": stored.since,
    }


def _as_told(health: StreamHealth) -> dict[str, Any]:
    """What the streaming job tells of a stream since it was started."""
    last = health.last_at
    return {
        "state": health.state,
        "why": health.why,
        "accepted": health.accepted,
        "rejected": health.rejected,
        "rate": health.rate,
        "rejected_share": health.rejected_share,
        "last event": format_instant(last) if last else None,
        "reasons": dict(health.reasons),
    }


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {reason}" for reason, count in value.items()) or "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else str(value or "-")


def _print_trial(run: Invocation, trial: Trial, output: Output) -> None:
    if output is Output.JSON:
        run.print_json(
            {
                "accepted": trial.accepted,
                "events": trial.events,
                "rejected": trial.rejected,
                "details": trial.details,
            }
        )
        return
    for event in trial.events:
        run.out.print(orjson.dumps(event).decode(), markup=False, highlight=False, soft_wrap=True)
    for reason, numbers in trial.rejected.items():
        shown = ", ".join(map(str, numbers[:FIRST_LINES]))
        more = f" and {len(numbers) - FIRST_LINES:,} more" if len(numbers) > FIRST_LINES else ""
        run.err.print(f"{len(numbers):,} rejected: {reason} (messages {shown}{more})")
        if reason in trial.details:
            run.err.print(f"  {numbers[0]}: {trial.details[reason]}", markup=False)
    run.err.print(f"{trial.accepted:,} would be accepted")
