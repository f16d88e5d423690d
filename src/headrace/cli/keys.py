"""``headrace keys``: who may ask the API, and change things over it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from headrace.cli.invocation import Invocation, Output, invoked
from headrace.cli.published import Author, Format, logged_in, opened_store
from headrace.errors import OperatorError
from headrace.store import ApiKey
from headrace.store.api_keys import Role, new_api_key
from headrace.store.sources import hashed

HINT = 8  # characters of a key that are shown again
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
Name = Annotated[str, typer.Argument(help="Such as checkout-service, or a person's name.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Who may do what over the API.", no_args_is_help=True)
    group.command()(add)
    group.command("list")(list_keys)
    group.command()(rotate)
    group.command()(revoke)
    app.add_typer(group, name="keys")


def add(
    context: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help="What it may do: docs/access.md.")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="It shows what identifies a person, too.")
    ] = False,
    days: Annotated[
        int | None, typer.Option(help="It ends after so many days.", min=1, max=3_650)
    ] = None,
    author: Author = "",
    output: Format = Output.TABLE,
) -> None:
    """Give out a new API key, and print it. It is shown this once."""
    run = invoked(context)
    if _NAME.fullmatch(name) is None:
        raise typer.BadParameter(f"{name!r}: a key's name has a-z, 0-9, - _ and ., at most 63")
    text = new_api_key()
    ends = None if days is None else datetime.now(UTC) + timedelta(days=days)
    key = ApiKey(
        name=name, key_hash=hashed(text), key_hint=text[:HINT], role=role, reveals=reveal,
        expires_at=ends,
    )  # fmt: skip
    with opened_store(run) as store:
        store.add_api_key(key, by=author or logged_in())
    _print_once(run, key, text, output)


def rotate(
    context: typer.Context,
    name: Name,
    hours: Annotated[
        int, typer.Option(help="The old one still opens for so long.", min=0, max=720)
    ] = 24,
    author: Author = "",
    output: Format = Output.TABLE,
) -> None:
    """Replace a key by another of the same name and role. The old one ends after some hours."""
    run, text = invoked(context), new_api_key()
    until = datetime.now(UTC) + timedelta(hours=hours)
    with opened_store(run) as store:
        fresh = store.rotate_api_key(
            name, hashed(text), text[:HINT], until=until, by=author or logged_in()
        )
        if fresh is None:
            raise _no_such_key(name, store.api_keys())
    _print_once(run, fresh, text, output)
    ends = min(until, fresh.expires_at or until)
    run.err.print(f"the old one ends at {ends:%Y-%m-%d %H:%M} UTC")
    if fresh.expires_at is not None:
        run.err.print(f"this one, as the old one was to, at {fresh.expires_at:%Y-%m-%d %H:%M} UTC")


def revoke(context: typer.Context, name: Name, author: Author = "") -> None:
    """End a key within seconds."""
    run = invoked(context)
    with opened_store(run) as store:
        if not store.revoke_api_key(name, by=author or logged_in()):
            raise _no_such_key(name, store.api_keys())
    run.err.print(f"the key {name} opens nothing any more")


def list_keys(context: typer.Context, output: Format = Output.TABLE) -> None:
    """All keys there are and were, and when each was last used."""
    run = invoked(context)
    with opened_store(run) as store:
        found = store.api_keys()
    now = datetime.now(UTC)
    if output is Output.JSON:
        run.print_json([_as_json(key, now) for key in found])
        return
    run.print_table(
        ("key", "begins", "role", "reveals", "state", "since", "last used", "ends"),
        [
            (
                key.name,
                f"{key.key_hint}..",
                key.role,
                "yes" if "reveal" in key.may else "-",
                "open" if key.is_open(now) else "ended",
                _time(key.created_at),
                _time(key.last_used_at),
                _time(key.revoked_at or key.expires_at),
            )
            for key in found
        ],
    )


def _print_once(run: Invocation, key: ApiKey, text: str, output: Output) -> None:
    if output is Output.JSON:
        run.print_json({**_as_json(key, datetime.now(UTC)), "key": text})
        return
    run.err.print(f"{key.name} is {key.role} with this key, which is shown only now:")
    print(text)


def _no_such_key(name: str, known: list[ApiKey]) -> OperatorError:
    now = datetime.now(UTC)
    names = ", ".join(sorted({key.name for key in known if key.is_open(now)})) or "none"
    return OperatorError(f"no key {name!r} is open (there are: {names})", code="HR966")


def _as_json(key: ApiKey, now: datetime) -> dict[str, Any]:
    return {
        "name": key.name,
        "key_hint": key.key_hint,
        "role": key.role,
        "may": sorted(key.may),
        "is_open": key.is_open(now),
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
