"""What the API serves against what the oracle says, user by user and segment by segment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One user and segment on which the two disagree."""

    segment: str
    user: str
    served: bool

    def __str__(self) -> str:
        said = "served as a member, is none" if self.served else "is a member, not served as one"
        return f"{self.segment} {self.user}: {said}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many memberships were compared, and those that differ."""

    memberships: int
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        return f"{len(self.differences)} differences in {self.memberships} memberships"


def compare(expected: Iterable[tuple[str, str]], served: Iterable[tuple[str, str]]) -> Comparison:
    """Hold two sets of (segment, user) against each other."""
    right, found = set(expected), set(served)
    missing = (Difference(segment, user, False) for segment, user in right - found)
    extra = (Difference(segment, user, True) for segment, user in found - right)
    return Comparison(len(right | found), tuple(sorted((*missing, *extra))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Messages by what became of them."""

    accepted: int
    duplicates: int
    quarantined: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.accepted + self.duplicates + self.quarantined

    def __str__(self) -> str:
        return (
            f"{self.total} = {self.accepted} accepted + {self.duplicates} duplicates"
            f" + {self.quarantined} quarantined"
        )
