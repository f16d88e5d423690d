"""One logical run, one effect: what a scheduler starts again is done once.

Schedulers repeat: they retry what failed, people clear what has ended, and a worker that is cut
off may leave its process running beside the next. So a run has an id. Whoever would do it first
takes the lease of its kind, which one holds at a time while the others wait, and then looks
whether the run is done already.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import structlog

from headrace.settings import Settings
from headrace.store import Kind, Store, StoreDown
from headrace.store.leases import new_holder

Note: TypeAlias = Callable[[Mapping[str, Any]], None]
Work: TypeAlias = Callable[[Note], int | None]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds; tests are in a hurry."""

    lease: float = 30.0  # what a killed run keeps the next one waiting
    renew: float = 10.0
    ask: float = 1.0


def run_once(
    settings: Settings,
    kind: Kind,
    run_id: str | None,
    work: Work,
    *,
    timings: Timings | None = None,
) -> int:
    """Do ``work`` unless run ``run_id`` of ``kind`` has been done; its exit code, then or now.

    Without an id the run is a new one. Waits while another run of the kind is under way. What
    ``work`` tells by the note it is given stands in the run's row of the progress table.
    """
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    name = run_id or uuid.uuid4().hex
    try:
        with _held(store, kind, timings or Timings()):
            done = store.finished_run(kind, name)
            if done is not None:
                print(f"run {name} is done already, since {done.ended_at:%Y-%m-%d %H:%M:%S %Z}")
                return done.exit_code or 0
            for left in store.live_progress(kind, kind=kind):
                # The lease is ours: whoever began it is gone.
                store.end_progress(left.id, "lost")
            return _recorded(store, kind, name, work)
    finally:
        store.close()


def _recorded(store: Store, kind: Kind, name: str, work: Work) -> int:
    row = store.begin_progress(kind, kind, details={"run_id": name})
    store.started(row, pid=os.getpid(), details={"host": socket.gethostname()})
    try:
        code = work(lambda details: store.note_progress(row, details)) or 0
    except BaseException:
        with suppress(StoreDown):  # the error that ended the work says more
            store.end_progress(row, "failed")
        raise
    store.end_progress(row, "done", exit_code=code)
    return code


@contextmanager
def _held(store: Store, kind: Kind, timings: Timings) -> Iterator[None]:
    """Hold the lease of ``kind``, renewed by a thread, once nobody else does."""
    holder = new_holder()
    ttl = timedelta(seconds=timings.lease)
    told = False
    while store.take_lease(kind, holder, ttl) is None:
        if not told:
            log.info("waiting for another run", kind=kind, holder=store.lease_holder(kind))
            told = True
        time.sleep(timings.ask)
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(timings.renew):
            try:
                kept = store.renew_lease(kind, holder, ttl)
            except StoreDown as error:
                # Nobody else can take it meanwhile either.
                log.warning("postgres is away; the lease is renewed later", error=str(error))
                continue
            if not kept:
                # We slept through it, and another acts by now: not one step further.
                print(f"another run took the lease of {kind}: this one ends", file=sys.stderr)
                os._exit(1)

    keeper = threading.Thread(target=keep, name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        with suppress(StoreDown):  # it expires by itself
            store.release_lease(kind, holder)
