"""/v1/segments: what there is to be in, and who is."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response

from headrace.cache.model import NoPage, Size, Sizes
from headrace.clock import Instant, format_instant
from headrace.rules.model import CONTINUOUS
from headrace.serving.access import Guarded
from headrace.serving.asking import After, TheFreshness, TheMemberships, TheSegments
from headrace.serving.cursors import sealed
from headrace.serving.models.segments import (
    Members,
    SegmentBody,
    SegmentDetail,
    SegmentList,
    SegmentState,
)
from headrace.serving.ports import Definition, Definitions
from headrace.serving.problems import Problem, ProblemBody, Responses

router = APIRouter(route_class=Guarded, tags=["segments"])
UNKNOWN: Responses = {404: {"model": ProblemBody, "description": "There is no such segment."}}
NOT_KEPT: Responses = {409: {"model": ProblemBody, "description": "Members are not kept as lists."}}
SegmentId = Annotated[str, Path(examples=["high_value"])]


@router.get("/v1/segments")
async def list_segments(
    memberships: TheMemberships, segments: TheSegments, freshness: TheFreshness
) -> SegmentList:
    """All segments with the state and size of each."""
    sizes = await memberships.sizes()
    defined = await segments.definitions()
    is_stale = freshness.is_stale(sizes.as_of)
    names = sorted(defined.segments.keys() | sizes.segments.keys())
    return SegmentList(
        as_of=format_instant(sizes.as_of),
        stale=is_stale,
        definitions_as_of=format_instant(defined.as_of),
        segments=[SegmentBody(**_body(name, defined, sizes, is_stale)) for name in names],
    )


@router.get("/v1/segments/{segment_id}", responses=UNKNOWN)
async def read_segment(
    segment_id: SegmentId,
    memberships: TheMemberships,
    segments: TheSegments,
    freshness: TheFreshness,
) -> SegmentDetail:
    """A segment's text, state and size."""
    sizes = await memberships.sizes()
    defined = await segments.definitions()
    definition = defined.segments.get(segment_id)
    if definition is None and segment_id not in sizes.segments:
        raise _unknown(segment_id)
    return SegmentDetail(
        **_body(segment_id, defined, sizes, freshness.is_stale(sizes.as_of)),
        as_of=format_instant(sizes.as_of),
        definitions_as_of=format_instant(defined.as_of),
        definition=definition.text if definition else None,
        content_hash=definition.content_hash if definition else None,
        created_at=_instant(definition.created_at if definition else None),
        activated_at=_instant(definition.activated_at if definition else None),
    )


@router.get("/v1/segments/{segment_id}/members", responses=UNKNOWN | NOT_KEPT)
async def list_members(
    segment_id: SegmentId,
    memberships: TheMemberships,
    freshness: TheFreshness,
    after: After,
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Members:
    """Members in the order of their ids; follow ``next_cursor`` or the Link header."""
    page = await memberships.members(segment_id, after=after, limit=limit)
    if isinstance(page, NoPage):
        if page.is_known:
            raise Problem(409, "members-not-kept", "HEADRACE_CACHE__MEMBERS is off")
        raise _unknown(segment_id)
    cursor = sealed([page.next_after]) if page.next_after is not None else None
    if cursor is not None:
        query = urlencode({"limit": limit, "cursor": cursor})
        response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return Members(
        segment=segment_id,
        version=page.version,
        as_of=format_instant(page.as_of),
        stale=freshness.is_stale(page.as_of),
        users=list(page.users),
        next_cursor=cursor,
    )


def _body(name: str, defined: Definitions, sizes: Sizes, is_stale: bool) -> dict[str, Any]:
    definition, size = defined.segments.get(name), sizes.segments.get(name)
    state = _state(definition, size)
    return {
        "id": name,
        "name": definition.name if definition else "",
        "owner": definition.owner if definition else "",
        "description": definition.description if definition else "",
        "tags": list(definition.tags) if definition else [],
        "refresh": definition.refresh if definition else CONTINUOUS,
        "version": definition.version if definition else None,
        "active_version": size.version if size else None,
        "state": state,
        "progress": _progress(name, defined) if state == "building" else None,
        "stale": None if state == "batch" else is_stale,
        "size": size.members if size else None,
        "troubles": list(defined.troubles.get(name, ())),
    }


def _state(definition: Definition | None, size: Size | None) -> SegmentState:
    if definition is None:
        return "retiring"
    if definition.refresh != CONTINUOUS:
        return "batch" if size is None else "retiring"
    return "active" if size is not None and size.version == definition.version else "building"


def _progress(name: str, defined: Definitions) -> int:
    """Of the wanted version: what is being built may be another, and this one not begun."""
    building = defined.building.get(name)
    if building is None or building.version != defined.segments[name].version:
        return 0
    return building.percent


def _unknown(segment: str) -> Problem:
    return Problem(404, "unknown-segment", f"there is no segment {segment!r}")


def _instant(value: Instant | None) -> str | None:
    return None if value is None else format_instant(value)
