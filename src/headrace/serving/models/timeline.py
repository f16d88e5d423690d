"""What happened to a user."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from headrace.serving.models.common import Masked, example


class EntryBody(BaseModel):
    """An event that arrived, or a segment entered or left; the other fields are null."""

    kind: Literal["event", "transition"]
    id: Annotated[str | None, Field(description="The event's id as sent, or the transition's.")]
    at: Annotated[str, Field(description="The event's ts; the instant that made it so.")]
    told_at: Annotated[str, Field(description="When the stream took it up, or told of it.")]
    type: str | None = None
    user_id: Annotated[str | None, Field(description="The id that the event was sent with.")] = None
    properties: dict[str, Any] | None = None
    masked: Masked | None = None
    segment: str | None = None
    version: int | None = None
    change: Literal["enter", "exit"] | None = None
    reason: str | None = None
    measures: dict[str, str | None] | None = None


class Timeline(BaseModel):
    """What happened to a user, newest first, by when the stream took it up."""

    model_config = example(
        user_id="ann",
        canonical_id="ann",
        entries=[
            {
                "kind": "transition",
                "id": "9f86d081884c7d65",
                "at": "2026-01-11T09:00:00Z",
                "told_at": "2026-01-11T09:00:01.200Z",
                "type": None,
                "user_id": None,
                "properties": None,
                "masked": None,
                "segment": "high_value",
                "version": 3,
                "change": "enter",
                "reason": "event",
                "measures": {"sum(purchase.amount) within 30d": "1800"},
            }
        ],
        next_cursor="eyJkIjoiMjAyNi0wMS0xMSJ9",
    )

    user_id: str
    canonical_id: str
    entries: list[EntryBody]
    next_cursor: Annotated[
        str | None,
        Field(description="Of what came before; there may be one though a page is not full."),
    ]
