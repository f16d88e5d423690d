"""Rejected messages."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

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
