"""/v1/streams: what brings events from topics of others, and how it is."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query, Request

from headrace.clock import format_instant, round_down
from headrace.rules.source import did_you_mean
from headrace.rules.streams import Stream, document
from headrace.rules.streams.carriers import carried
from headrace.serving.access import Guarded
from headrace.serving.asking import TheCaller, TheChanges, TheStreams
from headrace.serving.models.streams import (
    StreamBody,
    StreamDetail,
    StreamHealthBody,
    StreamKept,
    StreamList,
    StreamMoved,
)
from headrace.serving.ports import Moved
from headrace.serving.problems import Problem, ProblemBody, Responses
from headrace.serving.streams import StreamHealth

router = APIRouter(route_class=Guarded, tags=["streams"])
UNKNOWN: Responses = {404: {"model": ProblemBody, "description": "There is no such stream."}}
UNREADABLE = Stream(id="", topic="")
"""Stands for a text of another release: of it only the row is told."""
DOCUMENT = {
    "apiVersion": "headrace/v1",
    "kind": "Stream",
    "metadata": {"id": "shop_orders", "owner": "shop"},
    "spec": {
        "topic": "shop.orders",
        "map": {"type": "purchase", "user_id": "$.customer.id", "ts": "$.created_at"},
    },
}
StreamId = Annotated[str, Path(examples=["shop_orders"])]


@router.get("/v1/streams")
async def list_streams(streams: TheStreams) -> StreamList:
    """All streams, and the state of each, as of some seconds ago."""
    as_of, found = await streams.health()
    return StreamList(as_of=format_instant(as_of), streams=[_body(one) for one in found])


@router.get("/v1/streams/{stream_id}", responses=UNKNOWN)
async def read_stream(stream_id: StreamId, streams: TheStreams) -> StreamDetail:
    """A stream's document in force, or that would be next."""
    as_of, found = await streams.health()
    one = _named(stream_id, found)
    stream = one.stored.readable
    return StreamDetail(
        **_body(one).model_dump(),
        as_of=format_instant(as_of),
        document=orjson.loads(one.stored.text) if stream is None else document(stream),
    )


@router.get("/v1/streams/{stream_id}/health", responses=UNKNOWN)
async def read_stream_health(stream_id: StreamId, streams: TheStreams) -> StreamHealthBody:
    """How a stream is: how much it brings, how much of that is rejected and why, how much waits."""
    as_of, found = await streams.health()
    one = _named(stream_id, found)
    return StreamHealthBody(
        id=one.stored.id,
        as_of=format_instant(as_of),
        state=one.state,
        why=one.why,
        accepted=one.accepted,
        rejected=one.rejected,
        rate=one.rate,
        rejected_share=one.rejected_share,
        reasons=dict(one.reasons),
        unread=one.unread,
        last_message_at=None if one.last_at is None else format_instant(one.last_at),
        counted_at=None if one.as_of is None else format_instant(one.as_of),
    )


REASON = Annotated[str, Query(max_length=500, description="Why; for the audit log.")]
NOT_NOW: Responses = {
    **UNKNOWN,
    409: {"model": ProblemBody, "description": "It is not in a state for that."},
}


@router.post(
    "/v1/streams",
    status_code=201,
    responses={
        409: {
            "model": ProblemBody,
            "description": "Its topic is ours, or it would no longer bring what it brings.",
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A document of kind Stream (docs/streams.md), as JSON or YAML.",
            "content": {
                "application/json": {"schema": {"type": "object"}, "example": DOCUMENT},
                "application/yaml": {"schema": {"type": "string"}},
            },
        }
    },
)
async def add_stream(
    request: Request,
    caller: TheCaller,
    changes: TheChanges,
    incompatible: Annotated[
        bool, Query(description="Also when it would no longer bring what it brings.")
    ] = False,
    reason: REASON = "",
) -> StreamKept:
    """Keep a version of a stream; nothing reads it before it is activated. The same text again is
    the same version."""
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError:
        raise Problem(422, "invalid-document", "the document is not UTF-8") from None
    kept = await changes.add_stream(text, by=caller.name, reason=reason, incompatible=incompatible)
    return StreamKept(id=kept.stream, version=kept.version)


@router.post("/v1/streams/{stream_id}:activate", responses=NOT_NOW)
async def activate_stream(
    stream_id: StreamId,
    caller: TheCaller,
    changes: TheChanges,
    version: Annotated[int | None, Query(ge=1, description="Default: the newest.")] = None,
    reason: REASON = "",
) -> StreamMoved:
    """Read a stream, within seconds; its topic is made if it is not there. One that was paused goes
    on where it was left."""
    return _moved(
        await changes.move_stream(
            stream_id, "activate", version=version, by=caller.name, reason=reason
        )
    )


@router.post("/v1/streams/{stream_id}:pause", responses=NOT_NOW)
async def pause_stream(
    stream_id: StreamId, caller: TheCaller, changes: TheChanges, reason: REASON = ""
) -> StreamMoved:
    """Read a stream no further for now."""
    return _moved(
        await changes.move_stream(stream_id, "pause", version=None, by=caller.name, reason=reason)
    )


@router.post("/v1/streams/{stream_id}:retire", responses=NOT_NOW)
async def retire_stream(
    stream_id: StreamId, caller: TheCaller, changes: TheChanges, reason: REASON = ""
) -> StreamMoved:
    """Read a stream no more. Its events stay, and so does its topic."""
    return _moved(
        await changes.move_stream(stream_id, "retire", version=None, by=caller.name, reason=reason)
    )


def _moved(done: Moved) -> StreamMoved:
    return StreamMoved(
        id=done.stream, state=done.state, version=done.version, notes=list(done.notes)
    )


def _body(one: StreamHealth) -> StreamBody:
    stream = one.stored.readable or UNREADABLE
    types = carried(stream)
    return StreamBody(
        id=one.stored.id,
        state=one.state,
        why=one.why,
        version=one.stored.version,
        newest_version=one.stored.newest,
        since=format_instant(round_down(one.stored.since)),
        owner=stream.owner,
        description=stream.description,
        topic=stream.topic,
        format=stream.format,
        event_types=None if types is None else sorted(types),
    )


def _named(id: str, found: tuple[StreamHealth, ...]) -> StreamHealth:
    known = {one.stored.id: one for one in found}
    if id not in known:
        hint = did_you_mean(id, known)
        detail = f"there is no stream {id!r}" + (f" ({hint})" if hint else "")
        raise Problem(404, "unknown-stream", detail)
    return known[id]
