"""/v1/users/{id}/timeline: what happened to a user."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query

from headrace.clock import format_instant
from headrace.lake.timeline import Entry, Kind, Place
from headrace.serving.access import Guarded
from headrace.serving.asking import AskedUser, TheMask, TheMemberships, TheProfiles
from headrace.serving.cursors import opened, sealed
from headrace.serving.masks import Mask
from headrace.serving.models.timeline import EntryBody, Timeline
from headrace.serving.problems import Problem, ProblemBody, Responses

router = APIRouter(route_class=Guarded, tags=["users"])
UNKNOWN: Responses = {404: {"model": ProblemBody, "description": "Nobody has ever seen this user."}}


async def _before(
    cursor: Annotated[
        str | None, Query(description="next_cursor of the page before.", max_length=400)
    ] = None,
) -> Place | None:
    return None if cursor is None else opened(cursor, _place)


def _place(told: Any) -> Place | None:
    match told:
        case [str(day), int() | None as n, ("event" | "transition") as kind, int(), int(), str(id)]:
            return Place(date.fromisoformat(day), n, kind, told[3], told[4], id)
    return None


@router.get("/v1/users/{user_id}/timeline", responses=UNKNOWN)
async def read_timeline(
    user: AskedUser,
    memberships: TheMemberships,
    profiles: TheProfiles,
    mask: TheMask,
    before: Annotated[Place | None, Depends(_before)],
    kind: Annotated[Kind | None, Query(description="Events, or transitions, alone.")] = None,
    type: Annotated[
        list[str] | None, Query(max_length=50, description="Events of these types alone.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Timeline:
    """Events of a user, under all ids, and segments entered and left. An event that was sent twice
    stands here twice, under one id: it counts once."""
    state, _ = await memberships.user(user)
    if state is None:
        raise Problem(404, "unknown-user", f"nobody has ever seen a user {user!r}")
    if type and kind == "transition":
        detail = "transitions have no type: ask for kind=event, or leave out kind"
        errors = [{"detail": detail, "parameter": "type"}]
        raise Problem(422, "invalid-request", detail, errors=errors)
    kinds: Sequence[Kind] = ("event", "transition") if kind is None else (kind,)
    if type:
        kinds = ("event",)
    part = await profiles.timeline(
        state.id, before=before, limit=limit, kinds=kinds, types=type or ()
    )
    return Timeline(
        user_id=user,
        canonical_id=state.id,
        entries=[_body(entry, mask) for entry in part.entries],
        next_cursor=None if part.next is None else sealed(part.next),
    )


def _body(entry: Entry, mask: Mask) -> EntryBody:
    row = entry.row
    told_at = format_instant(row["at"])
    if entry.kind == "event":
        facts, masked = mask.facts(row["type"], orjson.loads(row["properties"] or "{}"))
        return EntryBody(
            kind="event",
            id=row["event_id"],
            at=format_instant(row["ts"]),
            told_at=told_at,
            type=row["type"],
            user_id=row["user_id"],
            properties=facts,
            masked=masked,
        )
    measures, masked = mask.measures(orjson.loads(row["measures"] or "{}"))
    return EntryBody(
        kind="transition",
        id=row["id"],
        at=format_instant(row["effective_at"]),
        told_at=told_at,
        segment=row["segment"],
        version=row["version"],
        change=row["change"],
        reason=row["reason"],
        measures=measures,
        masked=masked,
    )
