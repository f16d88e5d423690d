"""What the API serves against what the oracle says, user by user and segment by segment."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import orjson

from headrace.clock import Instant
from headrace.engine.identity import reached
from headrace.rules.catalog import Catalog
from headrace.rules.model import Segment
from headrace.rules.reference import reference_members


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


def expected_members(
    lines: Path, segments: Sequence[Segment], catalog: Catalog, at: Instant, *, processes: int
) -> list[tuple[str, str]]:
    """The oracle's (segment, user) over a file of events, one JSON line each.

    Ids that were never joined have nothing to do with each other, so each process takes a share.
    """
    share = partial(_share, lines, families(lines), segments, catalog, at, processes)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return sorted(pair for pairs in pool.map(share, range(processes)) for pair in pairs)


def families(file: Path) -> dict[str, str]:
    """For each id that an alias in the file names, one of those it was ever joined with."""
    links: dict[str, set[str]] = {}
    with file.open("rb") as lines:
        for line in lines:
            if b'"alias"' not in line:
                continue
            fact = orjson.loads(line)
            if fact["type"] == "alias":
                links.setdefault(fact["from"], set()).add(fact["to"])
                links.setdefault(fact["to"], set()).add(fact["from"])
    families: dict[str, str] = {}
    for start in links:
        if start not in families:
            families.update(dict.fromkeys(reached(links, start), start))
    return families


def _share(
    file: Path,
    families: Mapping[str, str],
    segments: Sequence[Segment],
    catalog: Catalog,
    at: Instant,
    shares: int,
    number: int,
) -> list[tuple[str, str]]:
    with file.open("rb") as lines:
        mine = (line for line in lines if _number(line, families, shares) == number)
        return reference_members(mine, segments, catalog, at)


def _number(line: bytes, families: Mapping[str, str], shares: int) -> int:
    fact = orjson.loads(line)
    user = fact["to"] if fact["type"] == "alias" else fact["user_id"]
    return zlib.crc32(families.get(user, user).encode()) % shares


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
