"""A table -> the stream that brings its rows, for its owner to read and correct."""

from __future__ import annotations

from headrace.databases.tables import Column, Table
from headrace.errors import OperatorError
from headrace.rules.source import did_you_mean
from headrace.rules.streams.inference import INSTANTS, USERS, Proposed
from headrace.rules.streams.model import (
    At,
    Constant,
    Converted,
    Database,
    Expression,
    Joined,
    Mapped,
    Stream,
)
from headrace.rules.streams.reading import KNOWN


def proposed(
    table: Table,
    url: str,
    *,
    id: str,
    namespace: str = "",
    user: str | None = None,
    type: str | None = None,
    time: str | None = None,
    watermark: str | None = None,
) -> Proposed:
    """A stream of the rows of ``table``, which lies in the database at ``url``.

    Rows state traits of the user that the column ``user`` names; with ``type`` each new row is an
    event of that type, at the instant in the column ``time``. With ``watermark`` they are read by
    that column. OperatorError for columns that are not there, that nobody can guess, or that are
    no instants.
    """
    columns = {column.name: column for column in table.columns}
    whose = _chosen(user, columns, _guessed_user(table), "--user", "names the user")
    fields: dict[str, Expression] = {**KNOWN["debezium"], "user_id": _at(whose)}
    taken = {whose, *table.key}
    if type is not None:
        instants = [name for name in columns if columns[name].kind in ("instant", "day")]
        guess = next((name for name in INSTANTS if name in instants), None)
        when = _chosen(time, columns, guess, "--time", "says when it happened")
        fields |= {
            "type": Constant(type),
            "ts": Converted(_at(when), "instant"),
            # The row itself: one that is read again, from wherever in the log, repeats the event.
            "event_id": Joined((Constant(f"{table.name}:"), *_joined(table.key))),
        }
        taken.add(when)
    if watermark is not None:
        _chosen(watermark, columns, None, "--watermark", "says when a row was changed")
        if columns[watermark].kind != "instant":
            raise OperatorError(f"the column {watermark!r} is no instant", code="HR970")
        taken.add(watermark)
    found = [column for column in table.columns if column.name not in taken]
    stream = Stream(
        id=id,
        topic=f"{namespace}{id}.{table.name}",
        format="debezium",
        key=table.key,
        database=Database(
            url, table.name, inserts_only=type is not None, watermark=watermark or ""
        ),
        map=Mapped(
            fields=fields,
            properties={one.name: _value(one) for one in found if one.kind != "other"},
        ),
    )
    left = [column.name for column in found if column.kind == "other"]
    doubts = [] if user else [f"users are named by the column {whose!r}: --user says otherwise"]
    doubts += [f"left out, of a type that rules cannot read: {', '.join(left)}"] if left else []
    return Proposed(stream, tuple(doubts))


def _guessed_user(table: Table) -> str | None:
    named = {column.name.lower(): column.name for column in table.columns}
    guess = next((named[word] for word in USERS if word in named and word != "email"), None)
    return guess or (table.key[0] if len(table.key) == 1 else None)


def _chosen(
    wish: str | None, columns: dict[str, Column], guess: str | None, flag: str, what: str
) -> str:
    if wish is None and guess is None:
        raise OperatorError(
            f"no column looks as if it {what}; {flag} says which of {', '.join(columns)} does",
            code="HR970",
        )
    name = wish or guess or ""
    if name not in columns:
        hint = did_you_mean(name, columns) or f"there are: {', '.join(columns)}"
        raise OperatorError(f"no column {name!r} ({hint})", code="HR970")
    return name


def _at(column: str) -> At:
    return At((column,))


def _joined(key: tuple[str, ...]) -> list[At | Constant]:
    parts: list[At | Constant] = []
    for column in key:
        parts += [Constant(","), _at(column)] if parts else [_at(column)]
    return parts


def _value(column: Column) -> Expression:
    match column.kind:
        case "number":
            return Converted(_at(column.name), "number")
        case "instant" | "day":
            return Converted(_at(column.name), "instant")
        case _:
            return _at(column.name)
