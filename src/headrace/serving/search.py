"""Users by what they are and are in, page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import orjson

from headrace.cache.model import NoPage, UserState
from headrace.clock import Instant
from headrace.lake.search import Wanted, candidates
from headrace.lake.tables import Tables
from headrace.serving.ports import Candidates, Memberships
from headrace.serving.reading import Readers

AT_ONCE: Final = 200
PATIENCE_SECONDS: Final = 0.25
"""After which a page ends, full or not: the next goes on behind whoever was looked at last."""


@dataclass(frozen=True, slots=True)
class Query:
    """Users in all of ``segments`` who have all of ``traits``, by values."""

    segments: Sequence[str]
    traits: Wanted

    def fits(self, state: UserState) -> bool:
        """Is this user one of them?"""
        held = {part.segment for part in state.memberships}
        if not held.issuperset(self.segments):
            return False
        known = orjson.loads(state.traits or "{}") if self.traits else {}
        # True is no 1 here.
        return all(
            name in known and known[name] == value and type(known[name]) is type(value)
            for name, value in self.traits.items()
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Some users in the order of their ids; behind whom the next page begins, if there is one."""

    users: tuple[UserState, ...]
    next_after: str | None
    as_of: Instant


class NotKept(Exception):
    """The members of a segment are not kept as a list, or there is no such segment."""

    def __init__(self, segment: str, is_known: bool) -> None:
        super().__init__(segment)
        self.segment = segment
        self.is_known = is_known


async def search(
    memberships: Memberships,
    query: Query,
    find: Candidates,
    *,
    after: str,
    limit: int,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """A page behind ``after``. ``find`` knows candidates where no segment narrows them down.

    Raises NotKept for a segment whose members cannot be listed.
    """
    found: list[UserState] = []
    began = clock()
    while True:
        if query.segments:
            page = await memberships.members(query.segments[0], after=after, limit=AT_ONCE)
            if isinstance(page, NoPage):
                raise NotKept(query.segments[0], page.is_known)
            users, more = page.users, page.next_after is not None
        else:
            users = tuple(await find(query.traits, after))
            more = len(users) == AT_ONCE
        states = await memberships.users(users, profiles=True)
        for user, state in zip(users, states.users, strict=True):
            after = user
            if state is not None and state.id == user and query.fits(state):
                found.append(state)
                if len(found) == limit:
                    is_last = user == users[-1] and not more
                    return Found(tuple(found), None if is_last else after, states.as_of)
        if not more:
            return Found(tuple(found), None, states.as_of)
        if clock() - began > PATIENCE_SECONDS:
            return Found(tuple(found), after, states.as_of)


def candidates_of(tables: Tables, readers: Readers) -> Candidates:
    """Candidates by the tables, `AT_ONCE` at a time."""

    async def find(wanted: Wanted, after: str) -> list[str]:
        return await readers(partial(candidates, tables, wanted, after=after, limit=AT_ONCE))

    return find
