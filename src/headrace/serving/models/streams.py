"""Streams, and how each is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from headrace.serving.models.common import AS_OF, example
from headrace.serving.streams import State

STREAM = {
    "id": "shop_orders",
    "state": "failing",
    "why": "600 of the last 1,000 messages were rejected: bad-ts",
    "version": 1,
    "newest_version": 2,
    "since": "2026-01-10T08:00:00Z",
    "owner": "shop",
    "description": "Orders as the shop writes them",
    "topic": "shop.orders",
    "format": "json",
    "event_types": ["purchase"],
}


class StreamBody(BaseModel):
    """A topic of others that is, was, or may be read as events, by ``version`` of its document."""

    id: str
    state: State
    why: Annotated[str, Field(description="Why it is failing or silent.")]
    version: int
    newest_version: int
    since: Annotated[str, Field(description="When it was last activated, paused or retired.")]
    owner: str
    description: str
    topic: str
    format: str
    event_types: Annotated[
        list[str] | None, Field(description="What it can bring; null: it does not say.")
    ]


class StreamList(BaseModel):
    """All streams."""

    model_config = example(as_of=AS_OF, streams=[STREAM])

    as_of: str
    streams: list[StreamBody]


class StreamKept(BaseModel):
    """The version under which a stream's document is kept."""

    model_config = example(id="shop_orders", version=2)

    id: str
    version: int


class StreamMoved(BaseModel):
    """How a stream stands now."""

    model_config = example(id="shop_orders", state="active", version=2, notes=[])

    id: str
    state: Literal["draft", "active", "paused", "retired"]
    version: int
    notes: Annotated[
        list[str], Field(description="What rules miss by it, and what will be seen later.")
    ]


class StreamDetail(StreamBody):
    """A stream with its document."""

    model_config = example(
        **STREAM, as_of=AS_OF, document={"apiVersion": "headrace/v1", "kind": "Stream"}
    )

    as_of: str
    document: dict[str, Any]


class StreamHealthBody(BaseModel):
    """How a stream is. Messages are counted since the streaming job was started."""

    model_config = example(
        id="shop_orders",
        as_of=AS_OF,
        state="failing",
        why="600 of the last 1,000 messages were rejected: bad-ts",
        accepted=20_412,
        rejected=611,
        rate=12.5,
        rejected_share=0.6,
        reasons={"bad-ts": 600},
        unread=31,
        last_message_at="2026-01-12T09:59:58.100Z",
        counted_at="2026-01-12T09:59:59.900Z",
    )

    id: str
    as_of: str
    state: State
    why: str
    accepted: int
    rejected: int
    rate: Annotated[float | None, Field(description="Messages a second, over the last minute.")]
    rejected_share: Annotated[float | None, Field(description="Of the newest 1,000, from 0 to 1.")]
    reasons: Annotated[dict[str, int], Field(description="Why the newest were rejected, top 3.")]
    unread: Annotated[
        int | None, Field(description="Messages that wait in Kafka; null: Kafka does not answer.")
    ]
    last_message_at: str | None
    counted_at: Annotated[str | None, Field(description="When the job last told of it.")]
