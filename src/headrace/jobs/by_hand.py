"""What people start by hand, as rows of the progress table: lists, and messages sent again."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from headrace.errors import OperatorError
from headrace.jobs.runs import Note
from headrace.settings import Settings
from headrace.store import SERVICE_SECONDS, Kind, Store


@contextmanager
def noted(settings: Settings, kind: Kind, details: Mapping[str, Any]) -> Iterator[Note]:
    """A run of ``kind`` until the end of the block, and how to say what it has done.

    It needs no Postgres: where there is none, the run has no row and goes on all the same.
    """
    store, row = None, None
    with suppress(OperatorError):
        store = Store(
            settings.postgres_url.get_secret_value(), settings.namespace, patience=SERVICE_SECONDS
        )
        store.migrate()
        row = _begun(store, kind, details)

    def note(done: Mapping[str, Any]) -> None:
        if store is not None and row is not None:
            with suppress(OperatorError):
                store.note_progress(row, done)

    is_done = False
    try:
        yield note
        is_done = True
    finally:
        if store is not None:
            if row is not None:
                with suppress(OperatorError):
                    store.end_progress(row, "done" if is_done else "failed")
            store.close()


def _begun(store: Store, kind: Kind, details: Mapping[str, Any]) -> int:
    here = socket.gethostname()
    for left in store.live_progress(kind, kind=kind):
        # Killed, a run cannot say so itself; of another machine's nobody here knows.
        if left.details.get("host") == here and left.pid and not psutil.pid_exists(left.pid):
            store.end_progress(left.id, "lost")
    row = store.begin_progress(kind, kind, details=details)
    store.started(row, pid=os.getpid(), details={"host": here})
    return row
