"""An export as it goes out: members page by page, never all of them in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from headrace.cache.model import NoPage, Page, UserState
from headrace.serving.export_formats import Row, Writing
from headrace.serving.ports import Memberships
from headrace.serving.problems import unavailable

MEMBERS_AT_ONCE = 200
# Each reads the cache as fast as its client reads: more of them would be felt by everybody else.
AT_ONCE = 4
LONGEST_SECONDS = 3_600.0


@dataclass(slots=True)
class Exports:
    """Counts the exports under way in this process."""

    under_way: int = 0

    def begin(self) -> None:
        """One more. A problem when there are enough."""
        if self.under_way >= AT_ONCE:
            raise unavailable("too-many-exports", f"{AT_ONCE} exports are under way")
        self.under_way += 1

    def end(self) -> None:
        """One less."""
        self.under_way -= 1


class ExportResponse(StreamingResponse):
    """A body that counts as under way until it has gone, or its client has."""

    def __init__(self, exports: Exports, body: AsyncIterator[bytes], **about: object) -> None:
        super().__init__(body, **about)  # type: ignore[arg-type]
        self._exports = exports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._exports.begin()
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await super().__call__(scope, receive, send)
        finally:
            self._exports.end()


class OtherVersion(Exception):
    """A new version took over: what went out so far is a part of another answer."""


async def exported(
    memberships: Memberships, segment: str, page: Page, traits: Sequence[str], out: Writing
) -> AsyncIterator[bytes]:
    """The file of everybody who is a member by the version of ``page``, the first, from then on.

    Whoever enters or leaves meanwhile may be in it or not. Breaks off, so that the client sees an
    incomplete answer, when the cache or that version is no more.
    """
    version = page.version
    while True:
        rows = await _rows(memberships, segment, page, traits)
        # Some thousand rows of Parquet take longer than others may wait.
        yield await asyncio.to_thread(out.write, rows)
        if page.next_after is None:
            break
        after = page.next_after
        found = await memberships.members(segment, after=after, limit=MEMBERS_AT_ONCE)
        if isinstance(found, NoPage) or found.version != version:
            raise OtherVersion(f"{segment} behind {after!r}")
        page = found
    yield await asyncio.to_thread(out.end)


async def _rows(
    memberships: Memberships, segment: str, page: Page, traits: Sequence[str]
) -> list[Row]:
    found = await memberships.users(page.users, profiles=bool(traits))
    return [
        row
        for user, state in zip(page.users, found.users, strict=True)
        if state is not None and (row := _row(user, state, segment, page.version, traits))
    ]


def _row(
    user: str, state: UserState, segment: str, version: int, traits: Sequence[str]
) -> Row | None:
    """None for whoever has left since the page was read, or now stands under another id."""
    for part in state.memberships:
        if state.id == user and (part.segment, part.version) == (segment, version):
            known = orjson.loads(state.traits or "{}")
            return Row(
                user, part.entered_at, {name: known[name] for name in traits if name in known}
            )
    return None
