"""Bodies of requests and answers, with an example each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MOST_USERS = 1_000
AS_OF = "2026-01-12T10:00:00.250Z"


def example(**value: Any) -> ConfigDict:
    """A model's configuration with one example."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def checked_user_id(text: str) -> str:
    """``text`` as a user id."""
    if not 1 <= len(text) <= 256:
        raise ValueError("a user id has 1 to 256 characters")
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("a user id has neither NUL nor half characters")
    return text


UserId = Annotated[str, AfterValidator(checked_user_id)]
AsOf = Annotated[str, Field(description="Everything published up to this instant is in here.")]
Stale = Annotated[
    bool, Field(description="as_of is longer ago than freshness_seconds: something stands still.")
]


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
        measures={
            "sum(purchase.amount) within 30d": {"value": "1800", "at": "2026-01-11T09:00:00Z"}
        },
        segments=[MEMBERSHIP],
    )

    updated_at: str
    traits: dict[str, Any]
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
        lists={"vip": "2026-01-10T07:30:00Z"},
        measures={"sum(purchase.amount) within 30d": "1800", "sum(purchase.amount)": "4250"},
        computed={"lifetime_value": "4250"},
        measured_at=AS_OF,
        first_seen="2026-01-09T08:00:02Z",
        updated_at="2026-01-11T09:00:00Z",
    )

    identities: Annotated[list[str], Field(description="All ids that lead to this user.")]
    traits: dict[str, TraitBody]
    lists: Annotated[dict[str, str], Field(description="Since when the user is on each.")]
    measures: dict[str, str | None]
    computed: Annotated[
        dict[str, str | None], Field(description="The catalog's computed traits, as measures.")
    ]
    measured_at: str
    first_seen: str
    updated_at: Annotated[str, Field(description="When something last changed, or came due.")]


class EntryBody(BaseModel):
    """An event that arrived, or a segment entered or left; the other fields are null."""

    kind: Literal["event", "transition"]
    id: Annotated[str | None, Field(description="The event's id as sent, or the transition's.")]
    at: Annotated[str, Field(description="The event's ts; the instant that made it so.")]
    told_at: Annotated[str, Field(description="When the stream took it up, or told of it.")]
    type: str | None = None
    user_id: Annotated[str | None, Field(description="The id that the event was sent with.")] = None
    properties: dict[str, Any] | None = None
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


class Check(BaseModel):
    """One thing the API depends on."""

    ok: bool
    detail: str = ""


class Readiness(BaseModel):
    """May traffic be sent here, and how fresh are the answers?"""

    model_config = example(
        status="ready",
        as_of=AS_OF,
        stale=False,
        stale_since=None,
        lag=0,
        checks={
            "cache": {"ok": True, "detail": ""},
            "freshness": {"ok": True, "detail": ""},
            "loader": {"ok": True, "detail": "loading"},
            "definitions": {"ok": True, "detail": ""},
        },
    )

    status: Literal["ready", "not ready"]
    as_of: str | None
    stale: Annotated[bool | None, Field(description="null while nothing can be answered.")]
    stale_since: Annotated[
        str | None, Field(description="Nothing that happened since is in the answers.")
    ]
    lag: Annotated[int | None, Field(description="Messages the loader has not applied yet.")]
    checks: dict[str, Check]


class Alive(BaseModel):
    """The process answers."""

    model_config = example(status="alive", as_of=AS_OF)

    status: Literal["alive", "started"]
    as_of: str


StreamState = Literal["draft", "starting", "active", "failing", "silent", "paused", "retired"]
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
    state: StreamState
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
    state: StreamState
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


class FoundUser(BaseModel):
    """A user who was looked for."""

    user_id: str
    traits: dict[str, Any]
    segments: list[str]


class FoundUsers(BaseModel):
    """Some of the users looked for, in the order of their ids."""

    model_config = example(
        as_of=AS_OF,
        stale=False,
        users=[{"user_id": "ann", "traits": {"country": "DE"}, "segments": ["high_value"]}],
        next_cursor="WyJhbm4iXQ",
    )

    as_of: AsOf
    stale: Stale
    users: list[FoundUser]
    next_cursor: str | None
