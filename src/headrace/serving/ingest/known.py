"""What the event API knows of the deployment: sources, catalog, streams, read every few seconds.

While Postgres is away the last knowledge holds, so that events go on; a process that starts
meanwhile has none, and says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from headrace.clock import DAY, SECOND, Instant
from headrace.engine.judge import Judge
from headrace.rules.catalog import Catalog
from headrace.serving.ingest.routing import Routes
from headrace.serving.refreshing import keep_fresh
from headrace.store import Source, StoredStream

REFRESH_SECONDS: Final = 3.0


class Definitions(Protocol):
    """Where sources and catalog are kept."""

    def sources(self) -> list[Source]:
        """All sources; those that were revoked say so."""

    def catalog(self) -> Catalog | None:
        """The catalog in force."""

    def streams(self) -> list[StoredStream]:
        """All streams."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was read together; sources by the hash of their key."""

    sources: Mapping[str, Source]
    catalog: Catalog
    origins: frozenset[str]
    routes: Routes


class Known:
    """The newest knowledge, and a judge of events by it."""

    def __init__(self, definitions: Definitions, *, retention_days: int) -> None:
        self._definitions = definitions
        self._retention_ms = retention_days * DAY
        self.now: Knowledge | None = None
        self._judge: tuple[Knowledge, Instant, Judge] | None = None

    def topics(self) -> frozenset[str] | None:
        """The topics of streams that take events; None before anything has been read."""
        return None if self.now is None else self.now.routes.topics

    def refresh(self) -> None:
        """Read it anew; raises HeadraceError and keeps what there was."""
        found = {source.key_hash: source for source in self._definitions.sources()}
        alive = {key: source for key, source in found.items() if source.revoked_at is None}
        origins = frozenset(origin for source in alive.values() for origin in source.origins)
        routes = Routes(self._definitions.streams())
        self.now = Knowledge(alive, self._definitions.catalog() or Catalog(), origins, routes)

    async def keep_fresh(self) -> None:
        """Refresh until cancelled."""
        refresh = partial(asyncio.to_thread, self.refresh)
        stale = "sources, catalog and streams stay as they were"
        await keep_fresh(refresh, seconds=REFRESH_SECONDS, stale=stale)

    def judge(self, knowledge: Knowledge, now: Instant) -> Judge:
        """Judges as the stream would now; to the second, since making one takes a while."""
        kept = self._judge
        if kept is None or kept[0] is not knowledge or not 0 <= now - kept[1] < SECOND:
            made = Judge(knowledge.catalog, now=now, retention_ms=self._retention_ms)
            kept = self._judge = (knowledge, now, made)
        return kept[2]
