"""Connections that wait for an answer no longer than they have patience.

libpq waits for ever for a server that is alive for TCP and answers nothing: stopped, or with a disk
that hangs. psycopg2 lets a function of ours wait instead, one for all connections of the process.
"""

from __future__ import annotations

import select
import time
from typing import ClassVar

import psycopg2
from psycopg2 import extensions

SERVICE_SECONDS = 10.0  # what a service with other work to do waits for an answer
CONNECT_SECONDS = 5.0  # libpq's own limit holds only where libpq itself waits
_WAITS_FOR = {extensions.POLL_READ: select.POLLIN, extensions.POLL_WRITE: select.POLLOUT}


class Silent(psycopg2.OperationalError):  # type: ignore[misc]
    """The server has not answered in time; the connection is closed."""


class Patient(extensions.connection):  # type: ignore[misc]
    """A connection that gives up; one without patience waits as long as it takes."""

    patience: ClassVar[float | None] = None


def patient(seconds: float | None) -> type[Patient]:
    """A class of connections that wait ``seconds`` for each answer."""
    return type("PatientConnection", (Patient,), {"patience": seconds})


def _wait(connection: Patient) -> None:
    patience = getattr(connection, "patience", None)
    if connection.status == extensions.STATUS_SETUP:
        patience = min(patience or CONNECT_SECONDS, CONNECT_SECONDS)
    deadline = None if patience is None else time.monotonic() + patience
    while (state := connection.poll()) != extensions.POLL_OK:
        ready = select.poll()
        ready.register(connection.fileno(), _WAITS_FOR[state])
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not ready.poll(None if left is None else 1_000 * left):
            raise Silent(f"no answer within {patience} s")


extensions.set_wait_callback(_wait)
