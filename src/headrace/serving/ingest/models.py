"""What the event API says, as its OpenAPI document shows it."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

EVENT: Final[dict[str, Any]] = {
    "event_id": "order-1017",
    "user_id": "ann",
    "type": "purchase",
    "ts": "2026-05-01T09:00:00Z",
    "properties": {"amount": 19.99, "sku": "kettle"},
}
CALL: Final[dict[str, Any]] = {
    "type": "track",
    "messageId": "order-1017",
    "userId": "ann",
    "event": "purchase",
    "timestamp": "2026-05-01T09:00:00Z",
    "properties": {"amount": 19.99, "sku": "kettle"},
}


class EventResult(BaseModel):
    """What became of one event."""

    index: int = Field(description="Its place in the request, from 0")
    status: Literal["accepted", "quarantined", "refused"] = Field(
        description="quarantined: kept with its reason, to be repaired; refused: not kept"
    )
    event_id: str | None = None
    reason: str | None = Field(None, description="A stable code, when it is not accepted")


class Taken(BaseModel):
    """What became of all events of a request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kept": "kafka",
                    "accepted": 1,
                    "quarantined": 0,
                    "refused": 0,
                    "results": [{"index": 0, "status": "accepted", "event_id": "order-1017"}],
                }
            ]
        }
    )

    kept: Literal["kafka", "disk"] = Field(
        description="Where they are safe: on the broker, or here on disk until it is back"
    )
    accepted: int
    quarantined: int
    refused: int
    results: list[EventResult]


class Alive(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: Literal["alive"]


class Ready(BaseModel):
    """Can events be taken, and where would they go?"""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "ready", "sources": 2, "spool_bytes": 0, "detail": ""}]
        }
    )

    status: Literal["ready", "not ready"]
    sources: int
    spool_bytes: int
    detail: str
