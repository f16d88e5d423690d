"""One pool of connections to Postgres, bound to one schema; trouble becomes a sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, ProgrammingError

from headrace.errors import OperatorError
from headrace.store.patience import Silent, patient

SETTING = "HEADRACE_POSTGRES_URL"
DEFAULT_SCHEMA = "headrace"
_SCHEMA = re.compile(r"(?!pg_)[A-Za-z0-9_.-]{1,63}")

# SQLSTATEs of a server that goes down, starts up or has no room: class 08, and these.
_DOWN = ("57P01", "57P02", "57P03", "53300")
_UNDEFINED_TABLE = ("42P01", "3F000")


class StoreDown(OperatorError):
    """Postgres does not answer. Whoever can wait, retries."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="HR920")


class Database:
    """Transactions on one schema of one Postgres.

    With ``patience`` a server that is there and does not answer for so many seconds is down, and
    for as long nobody waits for it again: whoever has other work to do goes on with it.
    """

    def __init__(
        self, url: str, schema: str = DEFAULT_SCHEMA, *, patience: float | None = None
    ) -> None:
        if not _SCHEMA.fullmatch(schema):
            raise OperatorError(
                f"HEADRACE_NAMESPACE: {schema!r} cannot name a Postgres schema "
                "(letters, digits and _.- , at most 63, not beginning with pg_)",
                code="HR922",
            )
        self.schema = schema
        self._url = _parsed(url)
        self._patience = patience
        self._silent_until = 0.0
        self._engine = create_engine(
            self._url,
            pool_pre_ping=True,  # a restarted server costs a ping, not a failed request
            pool_size=5,
            max_overflow=15,
            pool_timeout=5,
            connect_args={
                "connection_factory": patient(patience),
                "application_name": "headrace",
                # Without these a vanished host is noticed after hours.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15_000,
            },
        ).execution_options(schema_translate_map={None: schema})

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on any error."""
        if time.monotonic() < self._silent_until:
            raise self._down(f"it was silent for {self._patience} s")
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            if isinstance(error.orig, Silent) and self._patience is not None:
                self._silent_until = time.monotonic() + self._patience
            trouble = self._trouble(error)
            if trouble is None:
                raise
            raise trouble from error

    def close(self) -> None:
        """Close the idle connections; the next transaction opens anew."""
        self._engine.dispose()

    def __str__(self) -> str:
        url = self._url
        host = url.host or url.query.get("host") or "the local socket"
        port = f":{url.port}" if url.port else ""
        return f"{host}{port}/{url.database or ''}"

    def _trouble(self, error: DBAPIError) -> OperatorError | None:
        code = getattr(error.orig, "pgcode", None)
        if isinstance(error, ProgrammingError) and code in _UNDEFINED_TABLE:
            return OperatorError(
                f"Postgres at {self} has no tables of Headrace in schema {self.schema!r}: "
                "`headrace up` makes them",
                code="HR921",
            )
        cut = error.connection_invalidated or (code is None and _is_operational(error))
        if cut or (code or "").startswith("08") or code in _DOWN:
            reason = " ".join(str(error.orig).split()) or "the connection was cut"
            return self._down(reason)
        return None

    def _down(self, reason: str) -> StoreDown:
        return StoreDown(
            f"Postgres at {self} does not answer ({reason}). "
            f"Start it (`headrace up`) or set {SETTING}."
        )


def _is_operational(error: DBAPIError) -> bool:
    return type(error).__name__ in ("OperationalError", "InterfaceError")


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text may hold a password: it is not repeated.
        raise OperatorError(
            f"{SETTING} is not a URL like postgresql://user@host:5432/name",
            code="HR923",
        ) from error
    if parsed.get_backend_name() != "postgresql":
        raise OperatorError(f"{SETTING} must begin with postgresql://", code="HR923")
    # SQLAlchemy 2.1 reads the bare scheme as psycopg 3, which we do not ship.
    return parsed.set(drivername="postgresql+psycopg2")
