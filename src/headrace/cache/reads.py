"""Reading the cache: each answer is of one instant, and complete, or there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.cache.connection import LAYOUT, address, connect_async, naming, root, script
from headrace.cache.model import (
    Incomplete,
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

# What one script reads for waiting callers at most: some 2 ms of Redis's time.
USERS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Versions:
    """Which versions readers see, under the epoch that says so."""

    epoch: str = ""
    active: Mapping[str, int] | None = None
    floor: Mapping[str, int] | None = None

    def memberships(self, fields: Mapping[str, str]) -> tuple[Membership, ...]:
        """The segments of a user's hash, by id."""
        best: dict[str, tuple[int, str]] = {}
        active, floor = self.active or {}, self.floor or {}
        for name, value in fields.items():
            segment, separator, text = name.rpartition("@")
            if not separator or segment not in active:
                continue
            version = int(text)
            if floor.get(segment, 0) < version <= active[segment]:
                best[segment] = max(best.get(segment, (0, "")), (version, value))
        return tuple(
            Membership(segment, version, int(value[1:]))
            for segment, (version, value) in sorted(best.items())
            if value.startswith("+")
        )


class CachedMemberships:
    """The cache as the API sees it. Users asked for at the same moment are read together."""

    def __init__(self, url: str, namespace: str = "", *, connections: int = 32) -> None:
        self._address = address(url)
        # redis-py types its answers by what they could be under any setting.
        self._redis: Any = connect_async(url, connections)
        self._root = root(namespace)
        self._read = self._redis.register_script(script("read"))
        self._members = self._redis.register_script(script("members"))
        self._sizes = self._redis.register_script(script("sizes"))
        self._versions = Versions()
        self._waiting: list[tuple[str, asyncio.Future[tuple[UserState | None, int]]]] = []
        self._readers: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Let go of Redis."""
        await self._redis.aclose()

    async def user(self, user: str) -> tuple[UserState | None, int]:
        """A user, with profile, and as of when; None for one never seen, or forgotten."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[UserState | None, int]] = loop.create_future()
        self._waiting.append((user, future))
        if len(self._waiting) == 1:
            loop.call_soon(self._start_reading)
        return await future

    def _start_reading(self) -> None:
        while self._waiting:
            group = self._waiting[:USERS_AT_ONCE]
            del self._waiting[:USERS_AT_ONCE]
            task = asyncio.create_task(self._answer(group))
            self._readers.add(task)
            task.add_done_callback(self._readers.discard)

    async def _answer(
        self, group: Sequence[tuple[str, asyncio.Future[tuple[UserState | None, int]]]]
    ) -> None:
        try:
            found = await self.users([user for user, _ in group], profiles=True)
        except BaseException as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), user in zip(group, found.users, strict=True):
            if not future.done():
                future.set_result((user, found.as_of))

    async def users(self, users: Sequence[str], *, profiles: bool = False) -> Users:
        """Several users as of one instant."""
        known = self._versions
        answer = await self._ask(self._read, LAYOUT, known.epoch, "1" if profiles else "0", *users)
        epoch, as_of, versions, *rows = answer
        if versions:
            active, floor = (
                {name: int(version) for name, version in _pairs(flat).items()} for flat in versions
            )
            known = self._versions = Versions(epoch, active, floor)
        return Users(tuple(_user(known, *row) for row in rows), int(as_of))

    async def sizes(self) -> Sizes:
        """The active version and the size of every segment."""
        as_of, active, counts = await self._ask(self._sizes, LAYOUT)
        members = _pairs(counts)
        return Sizes(
            {
                segment: Size(int(version), int(members.get(f"{segment}@{version}", 0)))
                for segment, version in sorted(_pairs(active).items())
            },
            int(as_of),
        )

    async def members(self, segment: str, *, after: str, limit: int) -> Page | NoPage:
        """The next ``limit`` members behind the id ``after``."""
        kind, as_of, *rest = await self._ask(self._members, LAYOUT, segment, after, limit + 1)
        if kind != "page":
            return NoPage(kind != "unknown", int(as_of))
        version, users = rest
        return Page(
            users=tuple(users[:limit]),
            version=int(version),
            next_after=users[limit - 1] if len(users) > limit else None,
            as_of=int(as_of),
        )

    async def loader(self) -> LoaderStatus | None:
        """What the loader last said of itself."""
        with naming(self._address):
            text = await self._redis.get(f"{self._root}loader")
        return None if text is None else LoaderStatus.of(text)

    async def keep_definitions(self, text: str) -> None:
        """Keep a copy of the segments' definitions, for when their store is away."""
        with naming(self._address):
            await self._redis.set(f"{self._root}definitions", text)

    async def kept_definitions(self) -> str | None:
        """The copy last kept."""
        with naming(self._address):
            text: str | None = await self._redis.get(f"{self._root}definitions")
        return text

    async def _ask(self, ask: Any, *arguments: str | int) -> list[Any]:
        with naming(self._address):
            answer: list[Any] = await ask(args=[self._root, *arguments])
        if answer[0] == "incomplete":
            raise Incomplete
        return answer


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _user(
    versions: Versions, user: str, flat: Sequence[str], profile: Sequence[str] | None
) -> UserState | None:
    fields = _pairs(flat)
    if "_n" not in fields or "_gone" in fields:
        return None
    known = _pairs(profile or ())
    measures = {}
    for name, text in known.items():
        if name.startswith("m:"):
            value, _, at = text.rpartition("@")
            measures[name[2:]] = MeasureValue(value or None, int(at))
    return UserState(
        id=user,
        memberships=versions.memberships(fields),
        updated_at=int(fields.get("_at", 0)),
        traits=known.get("traits"),
        measures=measures,
    )
