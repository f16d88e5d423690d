"""Segments, their state and their members."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from headrace.serving.models.common import AS_OF, AsOf, Stale, example

SegmentState = Literal["active", "building", "retiring", "batch"]


SEGMENT = {
    "id": "high_value",
    "name": "High value",
    "owner": "growth",
    "description": "Big recent spenders",
    "tags": ["revenue"],
    "refresh": "continuous",
    "version": 3,
    "active_version": 2,
    "state": "building",
    "progress": 63,
    "stale": False,
    "size": 1284,
    "troubles": ["stream shop_orders is paused since 2026-01-12T09:00:00Z"],
}


class SegmentBody(BaseModel):
    """A segment; ``version`` is the wanted one, ``active_version`` the one memberships follow.

    One in state ``batch`` is recomputed by its cron line and has no memberships here.
    """

    id: str
    name: str
    owner: str
    description: str
    tags: list[str]
    refresh: Annotated[str, Field(description="continuous, or the cron line of a batch segment.")]
    version: int | None
    active_version: int | None
    state: SegmentState
    progress: Annotated[
        int | None,
        Field(description="Percent of the new version's history read; null unless building."),
    ]
    stale: Annotated[
        bool | None,
        Field(description="As beside as_of; null for a batch segment, which follows its cron."),
    ]
    size: int | None
    troubles: Annotated[
        list[str],
        Field(description="Streams of events that the rule needs and does not get at present."),
    ]


class SegmentList(BaseModel):
    """All segments."""

    model_config = example(as_of=AS_OF, stale=False, definitions_as_of=AS_OF, segments=[SEGMENT])

    as_of: AsOf
    stale: Stale
    definitions_as_of: str
    segments: list[SegmentBody]


class SegmentDetail(SegmentBody):
    """A segment with its text."""

    model_config = example(
        **SEGMENT,
        as_of=AS_OF,
        definitions_as_of=AS_OF,
        definition="apiVersion: headrace/v1\nkind: Segment\n…",
        content_hash="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        created_at="2026-01-10T08:00:00Z",
        activated_at="2026-01-10T08:00:00Z",
    )

    as_of: AsOf
    definitions_as_of: str
    definition: str | None
    content_hash: str | None
    created_at: str | None
    activated_at: str | None


class Members(BaseModel):
    """Some members of a segment, in the order of their ids."""

    model_config = example(
        segment="high_value",
        version=3,
        as_of=AS_OF,
        stale=False,
        users=["ann", "bob"],
        next_cursor="eyJhIjoiYm9iIn0",
    )

    segment: str
    version: int
    as_of: AsOf
    stale: Stale
    users: list[str]
    next_cursor: str | None
