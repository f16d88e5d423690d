"""Users: what they are in, and what is known of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from headrace.serving.models.common import AS_OF, MOST_USERS, AsOf, Masked, Stale, UserId, example


class MembershipBody(BaseModel):
    """The user is in this segment."""

    segment: str
    version: int
    entered_at: str


MEMBERSHIP = {"segment": "high_value", "version": 3, "entered_at": "2026-01-11T09:00:00Z"}


class UserSegments(BaseModel):
    """The segments a user is in."""

    model_config = example(
        user_id="ann", canonical_id="ann", as_of=AS_OF, stale=False, segments=[MEMBERSHIP]
    )

    user_id: str
    canonical_id: Annotated[str, Field(description="The id that joined ids stand under.")]
    as_of: AsOf
    stale: Stale
    segments: list[MembershipBody]


class MeasureBody(BaseModel):
    """A measure when it last moved the user into or out of a segment; null: it was missing."""

    value: str | None
    at: str


class UserBody(UserSegments):
    """What is known of a user."""

    model_config = example(
        user_id="anon-1",
        canonical_id="ann",
        as_of=AS_OF,
        stale=False,
        updated_at="2026-01-11T09:00:00Z",
        traits={"country": "DE"},
        masked=["email"],
        measures={
            "sum(purchase.amount) within 30d": {"value": "1800", "at": "2026-01-11T09:00:00Z"}
        },
        segments=[MEMBERSHIP],
    )

    updated_at: str
    traits: dict[str, Any]
    masked: Masked
    measures: dict[str, MeasureBody]


class TraitBody(BaseModel):
    """A trait's value and the instant of the fact that says so."""

    value: Any
    at: str


class ProfileBody(UserSegments):
    """Everything that is known of a user. A measure that is null is missing."""

    model_config = example(
        user_id="anon-1",
        canonical_id="ann",
        as_of=AS_OF,
        stale=False,
        segments=[MEMBERSHIP],
        identities=["ann", "anon-1"],
        traits={"country": {"value": "DE", "at": "2026-01-09T08:00:00Z"}},
        masked=["email"],
        lists={"vip": "2026-01-10T07:30:00Z"},
        measures={"sum(purchase.amount) within 30d": "1800", "sum(purchase.amount)": "4250"},
        computed={"lifetime_value": "4250"},
        measured_at=AS_OF,
        first_seen="2026-01-09T08:00:02Z",
        updated_at="2026-01-11T09:00:00Z",
    )

    identities: Annotated[list[str], Field(description="All ids that lead to this user.")]
    traits: dict[str, TraitBody]
    masked: Masked
    lists: Annotated[dict[str, str], Field(description="Since when the user is on each.")]
    measures: dict[str, str | None]
    computed: Annotated[
        dict[str, str | None], Field(description="The catalog's computed traits, as measures.")
    ]
    measured_at: str
    first_seen: str
    updated_at: Annotated[str, Field(description="When something last changed, or came due.")]


class BatchRequest(BaseModel):
    """Whose memberships are asked for, and of which segments (all, if none is named)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"users": ["ann", "bob"], "segments": ["high_value"]}]},
    )

    users: Annotated[list[UserId], Field(min_length=1, max_length=MOST_USERS)]
    segments: Annotated[list[str], Field(max_length=1_000)] | None = None


class BatchUser(BaseModel):
    """One user's segments; ``known`` is false for one never seen."""

    user_id: str
    canonical_id: str
    known: bool
    segments: list[str]


class BatchAnswer(BaseModel):
    """All of them as of one instant, in the order they were asked for."""

    model_config = example(
        as_of=AS_OF,
        stale=False,
        users=[
            {"user_id": "ann", "canonical_id": "ann", "known": True, "segments": ["high_value"]},
            {"user_id": "bob", "canonical_id": "bob", "known": False, "segments": []},
        ],
    )

    as_of: AsOf
    stale: Stale
    users: list[BatchUser]


class FoundUser(BaseModel):
    """A user who was looked for."""

    user_id: str
    traits: dict[str, Any]
    masked: Masked
    segments: list[str]


class FoundUsers(BaseModel):
    """Some of the users looked for, in the order of their ids."""

    model_config = example(
        as_of=AS_OF,
        stale=False,
        users=[
            {
                "user_id": "ann",
                "traits": {"country": "DE"},
                "masked": ["email"],
                "segments": ["high_value"],
            }
        ],
        next_cursor="WyJhbm4iXQ",
    )

    as_of: AsOf
    stale: Stale
    users: list[FoundUser]
    next_cursor: str | None
