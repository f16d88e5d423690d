"""What routes are given: the ports behind the app, and checked parts of the request.

All of them are coroutines: FastAPI sends plain functions through a pool of threads, which takes
longer than everything else a request does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Query, Request

from headrace.clock import Clock
from headrace.errors import HeadraceError
from headrace.serving.access import Caller
from headrace.serving.cursors import opened
from headrace.serving.freshness import Freshness
from headrace.serving.masks import NO_MASK, Mask
from headrace.serving.models.common import checked_user_id
from headrace.serving.ports import (
    Candidates,
    Changes,
    Letters,
    Memberships,
    Outputs,
    Ports,
    Profiles,
    Segments,
    Streams,
)
from headrace.serving.problems import Problem


def _given(pick: Callable[[Ports], object]) -> Any:
    """One of the app's ports, to a route that asks for it."""

    async def given(request: Request) -> object:
        return pick(request.app.state.ports)

    return Depends(given)


async def _clock(request: Request) -> Clock:
    found: Clock = request.app.state.clock
    return found


async def _freshness(request: Request) -> Freshness:
    found: Freshness = request.app.state.freshness
    return found


async def _user_id(
    user_id: Annotated[
        str,
        Path(
            description="Percent-encoded; a slash in an id is %2F.",
            examples=["ann"],
        ),
    ],
) -> str:
    try:
        return checked_user_id(unquote_to_bytes(user_id).decode())
    except UnicodeDecodeError:
        detail = "a user id is UTF-8, percent-encoded"
    except ValueError as error:
        detail = str(error)
    raise Problem(
        422, "bad-user-id", detail, errors=[{"detail": detail, "parameter": "user_id"}]
    ) from None


async def _after(
    cursor: Annotated[
        str | None, Query(description="next_cursor of the page before.", max_length=2_000)
    ] = None,
) -> str:
    return "" if cursor is None else opened(cursor, _user_of)


def _user_of(told: Any) -> str | None:
    match told:
        case [str(user)]:
            return checked_user_id(user)
    return None


async def _caller(request: Request) -> Caller:
    found: Caller = request.state.caller
    return found


async def _mask(
    caller: Annotated[Caller, Depends(_caller)],
    segments: Annotated[Segments, _given(lambda ports: ports.segments)],
) -> Mask:
    if caller.sees_all:
        return NO_MASK
    try:
        return Mask((await segments.definitions()).personal)
    except HeadraceError:
        return Mask(None)  # who is in what is answered all the same


TheMemberships = Annotated[Memberships, _given(lambda ports: ports.memberships)]
TheSegments = Annotated[Segments, _given(lambda ports: ports.segments)]
TheOutputs = Annotated[Outputs, _given(lambda ports: ports.outputs)]
TheStreams = Annotated[Streams, _given(lambda ports: ports.streams)]
TheProfiles = Annotated[Profiles, _given(lambda ports: ports.profiles)]
TheLetters = Annotated[Letters, _given(lambda ports: ports.letters)]
TheChanges = Annotated[Changes, _given(lambda ports: ports.changes)]
TheCandidates = Annotated[Candidates, _given(lambda ports: ports.candidates)]
TheClock = Annotated[Clock, Depends(_clock)]
TheFreshness = Annotated[Freshness, Depends(_freshness)]
TheCaller = Annotated[Caller, Depends(_caller)]
TheMask = Annotated[Mask, Depends(_mask)]
AskedUser = Annotated[str, Depends(_user_id)]
After = Annotated[str, Depends(_after)]
