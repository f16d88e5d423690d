"""What the cache answers, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import orjson

from headrace.clock import SECOND, Instant
from headrace.errors import HeadraceError, OperatorError

# The loader speaks once a second.
SILENT_AFTER = 15 * SECOND


class CacheDown(OperatorError):
    """Redis does not answer; the message names the setting, never the password."""

    def __init__(self, address: str, detail: object = "") -> None:
        reason = f" ({detail})" if str(detail) else ""
        super().__init__(
            f"Redis does not answer at {address or 'an empty address'}{reason}; "
            "check that it runs and that HEADRACE_REDIS_URL names it",
            code="HR903",
        )


class Incomplete(HeadraceError):
    """No complete generation: nobody may be told that he is not a member."""

    code = "HR904"

    def __init__(self) -> None:
        super().__init__("the cache is being filled")


class GenerationLost(HeadraceError):
    """The generation written to is gone: Redis was emptied, or another rebuild was quicker."""

    code = "HR905"

    def __init__(self, generation: str) -> None:
        super().__init__(f"generation {generation} is no longer in Redis")


class Moved(HeadraceError):
    """Redis stands at another offset than the writer: it was restored, or two loaders run."""

    code = "HR906"

    def __init__(self, partition: int, offset: int | None) -> None:
        self.partition = partition
        self.offset = offset
        super().__init__(f"partition {partition} stands at offset {offset} in Redis")


@dataclass(frozen=True, slots=True)
class Membership:
    """The user is in ``segment`` by ``version``, since ``entered_at``."""

    segment: str
    version: int
    entered_at: Instant


@dataclass(frozen=True, slots=True)
class MeasureValue:
    """A measure when it last moved the user into or out of a segment; None: it was missing."""

    value: str | None
    at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class UserState:
    """What is known of a user; ``id`` is the canonical one of a joined id."""

    id: str
    memberships: tuple[Membership, ...]
    updated_at: Instant
    traits: str | None = None
    measures: Mapping[str, MeasureValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Users:
    """Several users as of one instant; None stands for one never seen, or forgotten."""

    users: tuple[UserState | None, ...]
    as_of: Instant


@dataclass(frozen=True, slots=True)
class Size:
    """The version readers see and how many members it has."""

    version: int
    members: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """All segments readers see."""

    segments: Mapping[str, Size]
    as_of: Instant


@dataclass(frozen=True, slots=True)
class Page:
    """Some members in the order of their ids; ``next_after`` is None on the last page."""

    users: tuple[str, ...]
    version: int
    next_after: str | None
    as_of: Instant


@dataclass(frozen=True, slots=True)
class NoPage:
    """Why there is no page: the segment is unknown, or its members are not kept."""

    is_known: bool
    as_of: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderStatus:
    """What the loader last said of itself."""

    state: str
    at: Instant
    as_of: Instant | None = None
    generation: str | None = None
    lag: int | None = None
    detail: str = ""
    partitions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @staticmethod
    def of(text: str) -> LoaderStatus | None:
        """What a loader, of whatever release, has said; None when it makes no sense."""
        try:
            told = orjson.loads(text)
            known = {one.name for one in fields(LoaderStatus)}
            return LoaderStatus(**{name: told[name] for name in told if name in known})
        except (ValueError, TypeError):
            return None

    def is_silent(self, now: Instant) -> bool:
        """Has it not spoken for so long that it is down, or hangs?"""
        return now - self.at > SILENT_AFTER
