"""events.accepted.v1: events as Headrace took them, for other systems."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from headrace.clock import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedEvent:
    """An event that counts: standardised, enriched, under its user's canonical id.

    ``properties`` is canonical JSON; ``n`` and ``at`` are of the batch that accepted it.
    """

    event_id: str
    user_id: str
    sent_id: str
    type: str
    ts: Instant
    properties: str
    n: int
    at: Instant

    @property
    def identity(self) -> str:
        """The same each time this event is sent, and that of no other: ids are a user's own."""
        return f"{len(self.sent_id)}:{self.sent_id}/{self.event_id}"


def encode_accepted(event: AcceptedEvent) -> bytes:
    """The message as JSON."""
    return orjson.dumps(
        {
            "event_id": event.event_id,
            "user_id": event.user_id,
            "sent_id": event.sent_id,
            "type": event.type,
            "ts": event.ts,
            "properties": orjson.Fragment(event.properties),
            "n": event.n,
            "at": event.at,
        }
    )
