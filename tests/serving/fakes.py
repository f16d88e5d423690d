"""Memberships and segments in memory, for an API without servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.cache.model import (
    LoaderStatus,
    MeasureValue,
    Membership,
    NoPage,
    Page,
    Size,
    Sizes,
    Users,
    UserState,
)
from headrace.errors import OperatorError
from headrace.jobs.letters import Replay
from headrace.lake.letters import Reason, Rejected, Spot
from headrace.lake.search import Wanted
from headrace.lake.timeline import Part
from headrace.rules.catalog import Field
from headrace.serving.access import Keyring
from headrace.serving.ports import (
    Building,
    Candidates,
    Changes,
    Definition,
    Definitions,
    Kept,
    Moved,
    Personal,
    Ports,
    Profile,
    StreamMove,
    Terms,
    WantedLetters,
)
from headrace.serving.streams import StreamHealth

AS_OF = 1_768_212_000_250  # 2026-01-12T10:00:00.250Z
EVERYBODY = Keyring(anonymous="admin")
PERSONAL = Personal(
    frozenset(("mail",)),
    {"purchase": frozenset(("phone",))},
    frozenset(("count(purchase) within 7d", "orders")),
)


@dataclass
class FakeMemberships:
    """Answers from what it was given; raises ``trouble`` while there is any."""

    states: dict[str, UserState] = field(default_factory=dict)
    active: dict[str, int] = field(default_factory=dict)
    trouble: Exception | None = None
    keeps_members: bool = True
    status: LoaderStatus | None = None

    def put(self, user: str, *segments: str, version: int = 1, traits: str = "{}") -> None:
        """Let a user be in segments."""
        self.states[user] = UserState(
            id=user,
            memberships=tuple(Membership(name, version, AS_OF - 1_250) for name in segments),
            updated_at=AS_OF - 250,
            traits=traits,
            measures={"count(purchase) within 7d": MeasureValue("3", AS_OF - 250)},
        )
        for name in segments:
            self.active.setdefault(name, version)

    def _ready(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def user(self, user: str) -> tuple[UserState | None, int]:
        self._ready()
        return self.states.get(user), AS_OF

    async def users(self, users: Sequence[str], *, profiles: bool = False) -> Users:
        self._ready()
        return Users(tuple(self.states.get(user) for user in users), AS_OF)

    def _in(self, segment: str) -> list[str]:
        return sorted(
            user
            for user, state in self.states.items()
            if any(part.segment == segment for part in state.memberships)
        )

    async def sizes(self) -> Sizes:
        self._ready()
        found = {name: Size(version, len(self._in(name))) for name, version in self.active.items()}
        return Sizes(found, AS_OF)

    async def members(self, segment: str, *, after: str, limit: int) -> Page | NoPage:
        self._ready()
        if segment not in self.active or not self.keeps_members:
            return NoPage(segment in self.active, AS_OF)
        users = [user for user in self._in(segment) if user > after]
        last = users[limit - 1] if len(users) > limit else None
        return Page(tuple(users[:limit]), self.active[segment], last, AS_OF)

    async def loader(self) -> LoaderStatus | None:
        return self.status


@dataclass
class FakeSegments:
    """Definitions as given, or ``trouble``."""

    rows: list[Definition] = field(default_factory=list)
    building: dict[str, Building] = field(default_factory=dict)
    troubles: dict[str, list[str]] = field(default_factory=dict)
    trouble: Exception | None = None

    async def definitions(self) -> Definitions:
        if self.trouble is not None:
            raise self.trouble
        return Definitions(
            {row.segment: row for row in self.rows}, AS_OF, self.building, self.troubles, PERSONAL
        )


@dataclass
class FakeOutputs:
    """Terms as given; nobody can say while they are None."""

    given: Terms | None = field(
        default_factory=lambda: Terms(
            {"country": Field("string"), "mail": Field("string", pii=True)}, {}
        )
    )

    async def terms(self) -> Terms:
        if self.given is None:
            raise OperatorError("Postgres does not answer")
        return self.given


@dataclass
class FakeStreams:
    """Streams as given; nobody can say while they are None."""

    found: tuple[StreamHealth, ...] | None = ()

    async def health(self) -> tuple[int, tuple[StreamHealth, ...]]:
        if self.found is None:
            raise OperatorError("Postgres does not answer")
        return AS_OF, self.found


@dataclass
class FakeProfiles:
    """Profiles as given, by canonical id; ``trouble`` while there is any."""

    found: dict[str, Profile] = field(default_factory=dict)
    part: Part = field(default_factory=lambda: Part((), None))
    asked: list[Any] = field(default_factory=list)
    trouble: Exception | None = None

    async def profile(self, user: str, at: int) -> Profile | None:
        assert at == AS_OF
        if self.trouble is not None:
            raise self.trouble
        return self.found.get(user)

    async def timeline(self, user: str, **asked: Any) -> Part:
        self.asked.append((user, asked))
        if self.trouble is not None:
            raise self.trouble
        return self.part


@dataclass
class FakeLetters:
    """Rejected messages as given, newest first."""

    found: list[tuple[Rejected, bool]] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    async def reasons(self, days: int) -> list[Reason]:
        return [Reason("bad-ts", days, AS_OF)]

    async def rejected(
        self, days: int, chosen: Sequence[str], before: Spot | None, limit: int
    ) -> list[tuple[Rejected, bool]]:
        self.asked.append((days, [*chosen], before))
        return [one for one in self.found if before is None or one[0].spot < before][:limit]


async def nobody(wanted: Wanted, after: str) -> list[str]:
    """No candidates."""
    return []


@dataclass
class FakeChanges:
    """Notes what it was told to do; raises ``trouble`` while there is any."""

    done: list[tuple[Any, ...]] = field(default_factory=list)
    trouble: Exception | None = None

    async def add_stream(self, text: str, *, by: str, reason: str, incompatible: bool) -> Kept:
        self._note("add", text, by, reason, incompatible)
        return Kept("orders", 2)

    async def move_stream(
        self, id: str, move: StreamMove, *, version: int | None, by: str, reason: str
    ) -> Moved:
        self._note(move, id, version, by, reason)
        return Moved(id, "active", version or 1, ("a note",))

    async def replay(self, wanted: WantedLetters, *, by: str, dry_run: bool) -> Replay:
        self._note("replay", wanted, by, dry_run)
        return Replay(sent=3, before=1, unfixable={"events.v1/0/1": "usr is not there"})

    def _note(self, *done: Any) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.done.append(done)


def faked(
    memberships: FakeMemberships | None = None,
    segments: FakeSegments | None = None,
    outputs: FakeOutputs | None = None,
    streams: FakeStreams | None = None,
    profiles: FakeProfiles | None = None,
    letters: FakeLetters | None = None,
    candidates: Candidates = nobody,
    changes: Changes | None = None,
) -> Ports:
    """Ports of an API; what is not given is there and empty."""
    return Ports(
        memberships=memberships or FakeMemberships(),
        segments=segments or FakeSegments(),
        outputs=outputs or FakeOutputs(),
        streams=streams or FakeStreams(),
        profiles=profiles or FakeProfiles(),
        letters=letters or FakeLetters(),
        candidates=candidates,
        changes=changes or FakeChanges(),
    )
