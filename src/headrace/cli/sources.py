"""``headrace sources``: who may send events over HTTP."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from headrace.cli.invocation import Output, invoked
from headrace.cli.published import Author, Format, logged_in, opened_store
from headrace.errors import OperatorError
from headrace.store import Source
from headrace.store.sources import Bots, hashed, new_key

EVENTS_PER_SECOND = 5_000
HINT = 8  # characters of a key that are shown again
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Who may send events over HTTP.", no_args_is_help=True)
    group.command()(add)
    group.command("list")(list_sources)
    group.command()(revoke)
    app.add_typer(group, name="sources")


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Such as shop-backend.")],
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="A web page's origin that may send, as https://shop.example; repeatable."
        ),
    ] = None,
    rate: Annotated[
        int, typer.Option(help="Events a second at most.", min=1, max=1_000_000)
    ] = EVENTS_PER_SECOND,
    no_joins: Annotated[
        bool, typer.Option("--no-joins", help="It may not say that two ids are one person.")
    ] = False,
    may_delete: Annotated[
        bool, typer.Option("--may-delete", help="It may have people deleted.")
    ] = False,
    bots: Annotated[
        Bots, typer.Option(help="What becomes of events whose program says it is no person's.")
    ] = "keep",
    test: Annotated[
        bool, typer.Option("--test", help="All it sends is flagged as traffic of tests.")
    ] = False,
    author: Author = "",
    output: Format = Output.TABLE,
) -> None:
    """Let a new source send events, and print its write key. It is shown this once."""
    run = invoked(context)
    key = new_key()
    source = Source(
        name=_checked(name, _NAME, "a source's name has a-z, 0-9, - and _, at most 63"),
        key_hash=hashed(key),
        key_hint=key[:HINT],
        origins=tuple(map(_as_sent, origin or ())),
        events_per_second=rate,
        may_join=not no_joins,
        may_delete=may_delete,
        bots=bots,
        is_test=test,
    )
    with opened_store(run) as store:
        store.add_source(source, by=author or logged_in())
    if output is Output.JSON:
        run.print_json({**_as_json(source), "key": key})
        return
    run.err.print(f"{name} may send events with this key, which is shown only now:")
    print(key)


def list_sources(context: typer.Context, output: Format = Output.TABLE) -> None:
    """All sources, those that were revoked too."""
    run = invoked(context)
    with opened_store(run) as store:
        found = store.sources()
    if output is Output.JSON:
        run.print_json([_as_json(source) for source in found])
        return
    run.print_table(
        ("source", "key", "origins", "events/s", "may", "flags", "since", "revoked"),
        [_row(source) for source in found],
    )


def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The source's name.")],
    author: Author = "",
) -> None:
    """Let a source send no more, within seconds."""
    run = invoked(context)
    with opened_store(run) as store:
        if not store.revoke_source(name, by=author or logged_in()):
            alive = [source.name for source in store.sources() if source.revoked_at is None]
            there = ", ".join(alive) or "none"
            raise OperatorError(f"no source {name!r} may send (there are: {there})", code="HR945")
    run.err.print(f"{name} may send no more")


def _checked(text: str, pattern: re.Pattern[str], rule: str) -> str:
    if pattern.fullmatch(text) is None:
        raise typer.BadParameter(f"{text!r}: {rule}")
    return text


def _as_sent(origin: str) -> str:
    """An origin as browsers send it: in small letters, without the port that goes unsaid."""
    rule = "an origin is scheme and host, as https://shop.example"
    found = _checked(origin.lower(), _ORIGIN, rule)
    usual = ":443" if found.startswith("https:") else ":80"
    return found.removesuffix(usual)


def _row(source: Source) -> tuple[str, ...]:
    may = [word for word, so in _rights(source) if so]
    flags = [f"bots: {source.bots}"] if source.bots != "keep" else []
    flags += ["test"] if source.is_test else []
    return (
        source.name,
        f"{source.key_hint}..",
        " ".join(source.origins) or "-",
        str(source.events_per_second),
        ", ".join(may),
        ", ".join(flags) or "-",
        _time(source.created_at),
        _time(source.revoked_at),
    )


def _rights(source: Source) -> tuple[tuple[str, bool], ...]:
    return ("send", True), ("join", source.may_join), ("delete", source.may_delete)


def _as_json(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "key_hint": source.key_hint,
        "origins": list(source.origins),
        "events_per_second": source.events_per_second,
        "may_join": source.may_join,
        "may_delete": source.may_delete,
        "bots": source.bots,
        "is_test": source.is_test,
        "created_at": source.created_at,
        "revoked_at": source.revoked_at,
    }


def _time(moment: Any) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
