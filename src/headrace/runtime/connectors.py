"""Keep the connectors of Kafka Connect equal to the streams that read databases.

Whoever watches the rules does this too, beside the streaming job: what is missing is made, what
has failed is started again, and what belongs to a stream that is retired goes, with what it had
the database keep. Several watchers do the same twice, which changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from headrace.databases.connector import configuration, connector_name, slot_of
from headrace.databases.tables import reach, release
from headrace.databases.worker import ConnectorStatus, Worker
from headrace.embedded import passwords
from headrace.errors import OperatorError
from headrace.rules.streams import Stream
from headrace.settings import Settings
from headrace.store import SERVICE_SECONDS, Store, StoredStream

ROUND_SECONDS: Final = 2.0
RESTART_SECONDS: Final = 10.0
REACH_SECONDS: Final = 10.0
KEPT: Final = ("active", "paused")
NO_WORKER: Final = "Kafka Connect does not run: `headrace up` starts it"
log = structlog.get_logger()


def keep_connectors(settings: Callable[[], Settings], stop: threading.Event) -> None:
    """Look every two seconds until ``stop`` is set, with settings read anew: workers come."""
    first = settings()
    store = Store(first.postgres_url.get_secret_value(), first.namespace, patience=SERVICE_SECONDS)
    keeper = Keeper(store)
    trouble = ""
    while not stop.is_set():
        try:
            keeper.look(settings)
            trouble = ""
        except OperatorError as error:
            if str(error) != trouble:
                log.warning("connectors stay as they are", reason=str(error))
            trouble = str(error)
        except Exception:
            log.exception("looking after connectors failed")
        stop.wait(ROUND_SECONDS)


@dataclass(slots=True)
class Keeper:
    """One that looks after connectors, and what it remembers of them."""

    store: Store
    _put: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _restarted: dict[str, float] = field(default_factory=dict)
    _reached: dict[str, tuple[float, str]] = field(default_factory=dict)

    def look(self, settings: Callable[[], Settings]) -> None:
        """Bring connectors to what Postgres says of streams; raises OperatorError while it is away.

        What keeps a stream's connector from working is noted with the stream.
        """
        rows = [row for row in self.store.streams() if needs_connect(row)]
        if not rows:
            return
        now = settings()
        troubles = self._troubles(now, rows)
        for row in rows:
            trouble = troubles.get(row.id, "")
            if trouble != row.trouble:
                self.store.note_trouble(row, trouble)

    def _troubles(self, settings: Settings, rows: list[StoredStream]) -> dict[str, str]:
        if not settings.connect.url:
            return {row.id: NO_WORKER for row in rows}
        worker = Worker(settings.connect.url)
        try:
            found = worker.statuses()
        except OperatorError as error:
            return {row.id: str(error) for row in rows}
        troubles = {}
        for row in rows:
            try:
                if row.state in KEPT:
                    troubles[row.id] = self._kept(worker, settings, row.stream, found)
                else:
                    self._end(worker, settings, row.stream, found)
            except OperatorError as error:
                troubles[row.id] = str(error)
        return troubles

    def _kept(
        self,
        worker: Worker,
        settings: Settings,
        stream: Stream,
        found: Mapping[str, ConnectorStatus],
    ) -> str:
        """Have a connector as the stream says; what keeps it from working, or nothing."""
        name = connector_name(settings.namespace, stream)
        password = passwords.reference(settings, stream.id)
        wanted = configuration(settings.namespace, stream, password=password)
        status = found.get(name)
        if status is None or self._put.get(name) != wanted:
            # What it is now says whether a worker has to be told: telling starts it anew.
            if status is None or worker.configuration(name) != {**wanted, "name": name}:
                worker.put(name, wanted)
                log.info("connector made", connector=name, table=wanted["table.include.list"])
            self._put[name] = wanted
            return status.trouble if status is not None else ""
        if status.is_stopped:
            worker.resume(name)
        if status.trouble and time.monotonic() - self._restarted.get(name, 0.0) > RESTART_SECONDS:
            self._restarted[name] = time.monotonic()
            log.warning("connector failed", connector=name, reason=status.trouble)
            worker.restart(name)
        return status.trouble or self._unreached(settings, stream)

    def _unreached(self, settings: Settings, stream: Stream) -> str:
        """Why its database cannot be reached, or nothing: a connector tries for ever, and says
        that it runs."""
        password = passwords.known(settings, stream.id)
        if stream.database is None or (settings.connect.passwords and not password):
            return ""
        asked, said = self._reached.get(stream.id, (float("-inf"), ""))
        if time.monotonic() - asked > REACH_SECONDS:
            try:
                reach(stream.database.url, password)
                said = ""
            except OperatorError as error:
                said = str(error)
            self._reached[stream.id] = time.monotonic(), said
        return said

    def _end(
        self,
        worker: Worker,
        settings: Settings,
        stream: Stream,
        found: Mapping[str, ConnectorStatus],
    ) -> None:
        """End the connector of a stream that is retired, and what the database keeps for it."""
        if stream.database is None:
            return
        name = connector_name(settings.namespace, stream)
        if name in found:
            worker.stop(name)
        secret = passwords.known(settings, stream.id)
        try:
            release(stream.database.url, secret, slot_of(settings.namespace, stream))
        finally:  # a database that is away keeps its slot, and us trying
            if name in found:
                worker.delete(name)
        self._put.pop(name, None)
        log.info("connector ended", connector=name)


def needs_connect(row: StoredStream) -> bool:
    """Has this stream a connector, or one that is still to be ended?"""
    if row.readable is None or not row.stream.is_connected:
        return False
    return row.state in KEPT or (row.state == "retired" and bool(row.trouble))
