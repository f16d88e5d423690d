"""What the API asks of the rest. The app is given these; tests give it fakes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from headrace.cache.model import LoaderStatus, NoPage, Page, Sizes, Users, UserState
from headrace.clock import Instant
from headrace.jobs.letters import Replay
from headrace.lake.letters import Reason, Rejected, Spot
from headrace.lake.search import Wanted
from headrace.lake.timeline import Kind, Part, Place
from headrace.rules.catalog import Field
from headrace.serving.streams import StreamHealth
from headrace.store.streams import StreamState


class Memberships(Protocol):
    """Who is in what; each answer is of one instant, and complete, or raises."""

    async def user(self, user: str) -> tuple[UserState | None, Instant]:
        """A user, with profile, and as of when; None for one never seen, or forgotten."""

    async def users(self, users: Sequence[str], *, profiles: bool = False) -> Users:
        """Several users as of one instant."""

    async def sizes(self) -> Sizes:
        """The active version and the size of every segment."""

    async def members(self, segment: str, *, after: str, limit: int) -> Page | NoPage:
        """The next ``limit`` members behind the id ``after``."""

    async def loader(self) -> LoaderStatus | None:
        """What the loader last said of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The version of a segment that should be active, and what it says."""

    segment: str
    version: int
    name: str = ""
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    refresh: str = "continuous"
    text: str = ""
    content_hash: str = ""
    created_at: Instant | None = None
    activated_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Building:
    """The version of a segment whose history is being read, and how many percent of it are."""

    version: int
    percent: int


@dataclass(frozen=True, slots=True)
class Personal:
    """What identifies a person, as the catalog says: traits, and properties by event type.

    Of measures and computed traits those are ``harmless`` that rest on none of them, and are known.
    """

    traits: frozenset[str] = frozenset()
    properties: Mapping[str, frozenset[str]] = field(default_factory=dict)
    harmless: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Definitions:
    """All segments that should be active, by id, as their store said at ``as_of``.

    ``troubles`` says of segments, by id, which events they need and do not get at present. Where
    ``personal`` is None, nobody can say.
    """

    segments: Mapping[str, Definition]
    as_of: Instant
    building: Mapping[str, Building] = field(default_factory=dict)
    troubles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    personal: Personal | None = None


class Segments(Protocol):
    """What the segments are; raises OperatorError when nobody can say."""

    async def definitions(self) -> Definitions:
        """The latest known."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What may leave for other programs: the catalog's traits, and what is held for which reason,
    by segment."""

    traits: Mapping[str, Field]
    held: Mapping[str, str]


class Outputs(Protocol):
    """The terms of exports; raises OperatorError when nobody can say."""

    async def terms(self) -> Terms:
        """As they are now, not as they were."""


class Streams(Protocol):
    """How the onboarded streams are; raises OperatorError when nobody can say."""

    async def health(self) -> tuple[Instant, tuple[StreamHealth, ...]]:
        """All of them, by id, and as of when: some seconds ago at most."""


class TraitValue(NamedTuple):
    """A trait, and the ``ts`` of the fact that says so."""

    value: Any
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of a person; ``lists`` say since when he is on each, ``identities`` are all ids
    that lead to him."""

    traits: Mapping[str, TraitValue]
    lists: Mapping[str, Instant]
    measures: Mapping[str, str | None]
    computed: Mapping[str, str | None]
    identities: tuple[str, ...]
    measured_at: Instant
    first_seen: Instant
    updated_at: Instant


class Profiles(Protocol):
    """What the tables have of a person; raises OperatorError when they cannot be read."""

    async def profile(self, user: str, at: Instant) -> Profile | None:
        """That of a canonical id, its measures at ``at``, or when its state is from; None for
        nobody."""

    async def timeline(
        self,
        user: str,
        *,
        before: Place | None,
        limit: int,
        kinds: Sequence[Kind],
        types: Sequence[str],
    ) -> Part:
        """What happened to a canonical id, newest first, behind a place."""


class Letters(Protocol):
    """Rejected messages of the last days; raises OperatorError when they cannot be read."""

    async def reasons(self, days: int) -> list[Reason]:
        """Why, and how many for each reason."""

    async def rejected(
        self, days: int, chosen: Sequence[str], before: Spot | None, limit: int
    ) -> list[tuple[Rejected, bool]]:
        """Those behind a spot, newest first, and whether each was sent again."""


class Kept(NamedTuple):
    """A version of a stream that is kept."""

    stream: str
    version: int


StreamMove = Literal["activate", "pause", "retire"]


@dataclass(frozen=True, slots=True)
class Moved:
    """How a stream stands now; ``notes`` say what rules miss by it, and what is late."""

    stream: str
    state: StreamState
    version: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLetters:
    """Which rejected messages are to be sent again, all if neither is given; ``fix`` is a text."""

    places: frozenset[str] | None = None
    reasons: frozenset[str] | None = None
    fix: str | None = None

    def asks_for(self, place: str, reason: str) -> bool:
        """Is a message at ``place``, rejected for ``reason``, one of them?"""
        return (self.places is None or place in self.places) and (
            self.reasons is None or reason in self.reasons
        )


class Changes(Protocol):
    """What operators change; raises Problem for what cannot be, or not now. ``by`` is who."""

    async def add_stream(self, text: str, *, by: str, reason: str, incompatible: bool) -> Kept:
        """Keep a version of the stream that a document spells."""

    async def move_stream(
        self, id: str, move: StreamMove, *, version: int | None, by: str, reason: str
    ) -> Moved:
        """Activate, pause or retire a stream."""

    async def replay(self, wanted: WantedLetters, *, by: str, dry_run: bool) -> Replay:
        """Send rejected messages again, each at most once."""


Candidates: TypeAlias = Callable[[Wanted, str], Awaitable[list[str]]]
"""Users who may have traits, by values, behind an id: some at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything the app is given."""

    memberships: Memberships
    segments: Segments
    outputs: Outputs
    streams: Streams
    profiles: Profiles
    letters: Letters
    candidates: Candidates
    changes: Changes
