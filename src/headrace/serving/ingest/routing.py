"""Which stream's topic an event goes to: that of whoever names its source and type.

Most events are nobody's in particular: those go to the topic that every deployment has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from headrace.engine.mapping import Mapper
from headrace.rules.documents import RESERVED_TYPES
from headrace.store import StoredStream

NO_STREAM: Final = "no-stream"


@dataclass(frozen=True, slots=True)
class Route:
    """Where an event goes (without a topic to our own), and what its stream makes of it there.

    While the stream ``is_paused`` it waits in the topic, and nothing reads it.
    """

    topic: str = ""
    mapper: Mapper | None = None
    is_paused: bool = False


OURS: Final = Route()


class Routes:
    """The routes of all streams that take events from sources."""

    def __init__(self, streams: Iterable[StoredStream]) -> None:
        self._routes: dict[tuple[str, str | None], Route] = {}
        for stored in streams:
            stream = stored.readable
            if stream is None or stored.state not in ("active", "paused"):
                continue
            route = Route(stream.topic, Mapper(stream), stored.state == "paused")
            for source in stream.sources:
                for kind in stream.types or (None,):
                    known = self._routes.get((source, kind), OURS)
                    # Of active ones there is one; what a paused one named too is its by now.
                    if known is OURS or known.is_paused:
                        self._routes[source, kind] = route

    @property
    def topics(self) -> frozenset[str]:
        """All topics but our own that events go to."""
        return frozenset(route.topic for route in self._routes.values())

    def of(self, source: str, kind: object) -> Route:
        """The route of an event of a type from a source; its stream names both, or the source.

        What is said of a person (traits, joins, deletions) waits for no stream.
        """
        if not isinstance(kind, str) or kind in RESERVED_TYPES:
            return OURS
        return self._routes.get((source, kind)) or self._routes.get((source, None), OURS)
