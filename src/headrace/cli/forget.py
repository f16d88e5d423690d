"""``headrace forget``: everything of a user, now online and within eight days on disk."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from headrace.cli.invocation import Invocation, Output, invoked
from headrace.cli.published import Format, opened_store
from headrace.clock import format_instant
from headrace.engine.judge import MAX_ID
from headrace.errors import OperatorError
from headrace.runtime.forgetting import PATIENCE_SECONDS, forget
from headrace.settings.keys import known_tombstone_key
from headrace.store import Receipt


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forget")(forget_user)


def forget_user(
    context: typer.Context,
    user: Annotated[
        str | None, typer.Argument(metavar="USER", help="An id as events name it.")
    ] = None,
    receipt: Annotated[
        str | None, typer.Option(metavar="ID", help="Show and verify a receipt instead.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for stream and cache.", min=0)
    ] = PATIENCE_SECONDS,
    output: Format = Output.TABLE,
) -> None:
    """Forget everything of USER up to now, under all ids joined with it, and print a receipt.

    Returns when no copy online is left; tables are rewritten and their files removed within eight
    days, which the receipt then says. What comes in later starts a new user.
    """
    run = invoked(context)
    if (user is None) == (receipt is None):
        raise typer.BadParameter("name a USER, or a receipt by --receipt ID")
    if user is not None:
        _print(run, _forgotten(run, user, timeout), output, is_genuine=True)
        return
    found = _found(run, str(receipt))
    is_genuine = found.is_genuine(known_tombstone_key(run.settings))
    _print(run, found, output, is_genuine=is_genuine)
    if not is_genuine:
        raise OperatorError(
            f"receipt {found.id} is not as it was signed: it was altered, or signed by another key",
            code="HR935",
        )


def _forgotten(run: Invocation, user: str, timeout: float) -> Receipt:
    if not 0 < len(user) <= MAX_ID:
        raise typer.BadParameter(f"an id has 1 to {MAX_ID} characters")
    with opened_store(run) as store, run.err.status("asking the stream") as line:
        return forget(
            store,
            run.settings,
            user,
            patience=timeout,
            tell=lambda what: line.update(f"waiting for {what}"),
        )


def _found(run: Invocation, receipt_id: str) -> Receipt:
    with opened_store(run) as store:
        found = store.receipt(receipt_id)
    if found is None:
        raise OperatorError(f"no receipt {receipt_id!r}", code="HR934")
    return found


def _print(run: Invocation, receipt: Receipt, output: Output, *, is_genuine: bool) -> None:
    told = _as_json(receipt) | {"genuine": is_genuine}
    if output is Output.JSON:
        run.print_json(told)
        return
    width = max(map(len, told))
    for name, value in told.items():
        text = "not yet" if value is None else str(value).lower() if name == "genuine" else value
        sys.stdout.write(f"{name.ljust(width)}  {text}\n")


def _as_json(receipt: Receipt) -> dict[str, Any]:
    instants = ("forgotten_until", "requested_at", "carried_out_at", "erased_at", "remove_by")
    told = asdict(receipt)
    for name in (*instants, "removed_at"):
        told[name] = None if told[name] is None else format_instant(told[name])
    return told
