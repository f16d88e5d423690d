"""/v1/users and /v1/memberships:batch: what a user is in."""

from __future__ import annotations

import orjson
from fastapi import APIRouter

from headrace.cache.model import Membership, UserState
from headrace.clock import format_instant
from headrace.serving.access import Guarded
from headrace.serving.asking import AskedUser, TheFreshness, TheMask, TheMemberships, TheProfiles
from headrace.serving.models.users import (
    BatchAnswer,
    BatchRequest,
    BatchUser,
    MeasureBody,
    MembershipBody,
    ProfileBody,
    TraitBody,
    UserBody,
    UserSegments,
)
from headrace.serving.problems import Problem, ProblemBody, Responses

router = APIRouter(route_class=Guarded, tags=["users"])
UNKNOWN: Responses = {404: {"model": ProblemBody, "description": "Nobody has ever seen this user."}}


@router.get("/v1/users/{user_id}/segments", responses=UNKNOWN)
async def read_user_segments(
    user: AskedUser, memberships: TheMemberships, freshness: TheFreshness
) -> UserSegments:
    """The segments a user is in right now; 404 for one we have never seen."""
    state, as_of = await memberships.user(user)
    known = _known(user, state)
    return UserSegments(
        user_id=user,
        canonical_id=known.id,
        as_of=format_instant(as_of),
        stale=freshness.is_stale(as_of),
        segments=_bodies(known.memberships),
    )


@router.get("/v1/users/{user_id}", responses=UNKNOWN)
async def read_user(
    user: AskedUser, memberships: TheMemberships, freshness: TheFreshness, mask: TheMask
) -> UserBody:
    """A user's traits, supporting measures and segments."""
    state, as_of = await memberships.user(user)
    known = _known(user, state)
    traits, masked = mask.traits(orjson.loads(known.traits or "{}"))
    measures, more = mask.measures(known.measures)
    return UserBody(
        user_id=user,
        canonical_id=known.id,
        as_of=format_instant(as_of),
        stale=freshness.is_stale(as_of),
        updated_at=format_instant(known.updated_at),
        traits=traits,
        masked=[*masked, *more],
        measures={
            name: MeasureBody(value=measure.value, at=format_instant(measure.at))
            for name, measure in sorted(measures.items())
        },
        segments=_bodies(known.memberships),
    )


@router.get("/v1/users/{user_id}/profile", responses=UNKNOWN)
async def read_user_profile(
    user: AskedUser,
    memberships: TheMemberships,
    profiles: TheProfiles,
    freshness: TheFreshness,
    mask: TheMask,
) -> ProfileBody:
    """Everything that is known of a user: traits and since when, all measures, ids, segments.

    Read from the tables, in tens of milliseconds; ``/v1/users/{user_id}`` is for every page view.
    """
    state, as_of = await memberships.user(user)
    known = _known(user, state)
    found = await profiles.profile(known.id, as_of)
    if found is None:  # forgotten since, or not known to the tables
        raise _unknown(user)
    traits, masked = mask.traits(found.traits)
    measures, more = mask.measures(found.measures)
    computed, most = mask.measures(found.computed)
    return ProfileBody(
        user_id=user,
        canonical_id=known.id,
        as_of=format_instant(as_of),
        stale=freshness.is_stale(as_of),
        segments=_bodies(known.memberships),
        identities=list(found.identities),
        traits={
            name: TraitBody(value=trait.value, at=format_instant(trait.at))
            for name, trait in traits.items()
        },
        masked=[*masked, *more, *most],
        lists={name: format_instant(at) for name, at in found.lists.items()},
        measures=dict(sorted(measures.items())),
        computed=computed,
        measured_at=format_instant(found.measured_at),
        first_seen=format_instant(found.first_seen),
        updated_at=format_instant(found.updated_at),
    )


@router.post("/v1/memberships:batch")
async def read_batch(
    asked: BatchRequest, memberships: TheMemberships, freshness: TheFreshness
) -> BatchAnswer:
    """The segments of up to 1,000 users, all as of one instant."""
    found = await memberships.users(asked.users)
    wanted = None if asked.segments is None else set(asked.segments)
    return BatchAnswer(
        as_of=format_instant(found.as_of),
        stale=freshness.is_stale(found.as_of),
        users=[
            BatchUser(
                user_id=user,
                canonical_id=state.id if state else user,
                known=state is not None,
                segments=[
                    part.segment
                    for part in (state.memberships if state else ())
                    if wanted is None or part.segment in wanted
                ],
            )
            for user, state in zip(asked.users, found.users, strict=True)
        ],
    )


def _known(user: str, state: UserState | None) -> UserState:
    if state is None:
        raise _unknown(user)
    return state


def _unknown(user: str) -> Problem:
    return Problem(404, "unknown-user", f"nobody has ever seen a user {user!r}")


def _bodies(memberships: tuple[Membership, ...]) -> list[MembershipBody]:
    return [
        MembershipBody(
            segment=part.segment,
            version=part.version,
            entered_at=format_instant(part.entered_at),
        )
        for part in memberships
    ]
