"""What a database says of its tables, and what it keeps for a connector."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.sql import sqltypes

from headrace.errors import OperatorError
from headrace.rules.source import did_you_mean

Kind = Literal["text", "number", "boolean", "instant", "day", "other"]
CONNECT_SECONDS: Final = 10
RELEASE_SECONDS: Final = 10.0
"""How long a slot may stay in use once its connector is gone."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and what its values are to us."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Table:
    """A table, named with its schema; ``key`` are the columns of its primary key.

    ``has_log`` says whether the database tells of changes: ``wal_level`` is ``logical``.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    has_log: bool


def parted(url: str) -> tuple[str, str]:
    """``url`` without its password, and the password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, ""
    place = parts.netloc.rpartition("@")[2]
    user = quote(parts.username or "", safe="%")
    return urlunsplit(parts._replace(netloc=f"{user}@{place}")), parts.password


def look_at(url: str, password: str, table: str) -> Table:
    """What the database at ``url`` says of ``table``.

    OperatorError for a table that is not there or has no primary key, and for a database that
    lets us not in.
    """
    schema, _, name = table.rpartition(".")
    schema = schema or "public"
    with _engine(url, password) as engine, _told(url):
        known = inspect(engine)
        try:
            found = known.get_columns(name, schema)
        except NoSuchTableError:
            tables = known.get_table_names(schema)
            hint = did_you_mean(name, tables) or f"there are: {', '.join(tables) or 'none'}"
            message = f"{_bare(url)} has no table {schema}.{name} ({hint})"
            raise OperatorError(message, code="HR970") from None
        key = known.get_pk_constraint(name, schema)["constrained_columns"]
        with engine.connect() as connection:
            level = connection.execute(text("SHOW wal_level")).scalar_one()
    if not key:
        raise OperatorError(
            f"{schema}.{name} has no primary key: changes of its rows could not be told apart",
            code="HR970",
        )
    columns = tuple(Column(one["name"], _kind(one["type"])) for one in found)
    return Table(f"{schema}.{name}", columns, tuple(key), has_log=level == "logical")


def reach(url: str, password: str) -> None:
    """Ask the database at ``url`` for nothing; OperatorError where it does not let us in."""
    with _engine(url, password) as engine, _told(url), engine.connect():
        pass


def release(url: str, password: str, slot: str) -> None:
    """Drop what the database keeps for a connector that is gone: its slot, and its publication.

    A slot that stays keeps the log from being cleared until the disk is full. OperatorError where
    it is still in use, or the database is away.
    """
    with _engine(url, password) as engine, _told(url), engine.connect() as connection:
        deadline = time.monotonic() + RELEASE_SECONDS
        while _is_active(connection, slot):
            if time.monotonic() > deadline:
                raise OperatorError(f"the slot {slot} of {_bare(url)} is in use", code="HR970")
            time.sleep(0.2)
        connection.execute(
            text(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = :slot AND database = current_database()"
            ),
            {"slot": slot},
        )
        connection.execute(text(f'DROP PUBLICATION IF EXISTS "{slot}"'))
        connection.commit()


def _is_active(connection: Connection, slot: str) -> bool:
    question = text("SELECT active FROM pg_replication_slots WHERE slot_name = :slot")
    return bool(connection.execute(question, {"slot": slot}).scalar_one_or_none())


@contextmanager
def _engine(url: str, password: str) -> Iterator[Engine]:
    parts = urlsplit(url)
    secret = f":{quote(password, safe='%')}" if password else ""
    place = f"{quote(parts.username or '', safe='%')}{secret}@{parts.netloc.rpartition('@')[2]}"
    full = urlunsplit(parts._replace(scheme="postgresql+psycopg2", netloc=place))
    patience = {
        "connect_timeout": CONNECT_SECONDS,
        "options": f"-c statement_timeout={CONNECT_SECONDS}s -c lock_timeout={CONNECT_SECONDS}s",
    }
    engine = create_engine(full, connect_args=patience)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        why = str(error.orig).strip().splitlines()[0]
        raise OperatorError(f"cannot read {_bare(url)}: {why}", code="HR970") from None
    except SQLAlchemyError as error:
        raise OperatorError(f"cannot read {_bare(url)}: {error}", code="HR970") from None


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}{parts.path}"


def _kind(of: object) -> Kind:
    match of:
        case sqltypes.Boolean():
            return "boolean"
        case sqltypes.Integer() | sqltypes.Numeric() | sqltypes.Float():
            return "number"
        case sqltypes.DateTime():
            return "instant"
        case sqltypes.Date():
            return "day"
        case sqltypes.Uuid() | sqltypes.Enum() | sqltypes.String():
            return "text"
        case _:
            return "other"
