"""Rejected messages."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from headrace.serving.models.common import AS_OF, example


class ReasonBody(BaseModel):
    """A reason code, how many messages were rejected for it, and when the last one was."""

    reason: str
    messages: int
    newest_at: str


class DeadLetterReasons(BaseModel):
    """Why messages were rejected within the last ``days``, the most frequent reason first."""

    model_config = example(
        days=7, reasons=[{"reason": "missing-user-id", "messages": 12, "newest_at": AS_OF}]
    )

    days: int
    reasons: list[ReasonBody]


class DeadLetterBody(BaseModel):
    """A rejected message: its ``text``, or ``base64`` where it is none."""

    place: Annotated[str, Field(description="topic/partition/offset, as `headrace dlq` takes it.")]
    reason: str
    rejected_at: str
    sent_again: bool
    text: str | None
    base64: str | None


class ReplayRequest(BaseModel):
    """Which rejected messages to send again, all if none are named, and how they are repaired."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "reasons": ["missing-user-id"],
                    "fix": {
                        "apiVersion": "headrace/v1",
                        "kind": "Fix",
                        "rename": {"usr": "user_id"},
                    },
                    "dry_run": True,
                }
            ]
        },
    )

    places: Annotated[list[str], Field(max_length=1_000)] | None = None
    reasons: Annotated[list[str], Field(max_length=100)] | None = None
    fix: Annotated[
        dict[str, Any] | None, Field(description="A document of kind Fix: docs/dead-letters.md.")
    ] = None
    dry_run: Annotated[bool, Field(description="Count, and send nothing.")] = False


class Replayed(BaseModel):
    """How many were sent again, or would be; ``unfixable`` says of the first ones why not."""

    model_config = example(
        dry_run=True,
        sent=12,
        sent_before=0,
        not_repaired=1,
        unfixable={"events.v1/2/1041": "usr is not there"},
    )

    dry_run: bool
    sent: int
    sent_before: int
    not_repaired: int
    unfixable: dict[str, str]


class DeadLetters(BaseModel):
    """Rejected messages, newest first."""

    model_config = example(
        messages=[
            {
                "place": "events.v1/2/1041",
                "reason": "missing-user-id",
                "rejected_at": AS_OF,
                "sent_again": False,
                "text": '{"usr": "ann", "type": "login"}',
                "base64": None,
            }
        ],
        next_cursor=None,
    )

    messages: list[DeadLetterBody]
    next_cursor: str | None
