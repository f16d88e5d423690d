"""What routes are given: the ports behind the app, and checked parts of the request.

All of them are coroutines: FastAPI sends plain functions through a pool of threads, which takes
longer than everything else a request does.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Query, Request

from headrace.clock import Clock
from headrace.serving.freshness import Freshness
from headrace.serving.models import checked_user_id
from headrace.serving.ports import Memberships, Outputs, Ports, Profiles, Segments, Streams
from headrace.serving.problems import Problem


def _ports(request: Request) -> Ports:
    found: Ports = request.app.state.ports
    return found


async def _memberships(request: Request) -> Memberships:
    return _ports(request).memberships


async def _segments(request: Request) -> Segments:
    return _ports(request).segments


async def _outputs(request: Request) -> Outputs:
    return _ports(request).outputs


async def _streams(request: Request) -> Streams:
    return _ports(request).streams


async def _profiles(request: Request) -> Profiles:
    return _ports(request).profiles


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


def cursor_of(user: str) -> str:
    """An opaque text that ``_after`` turns into the user again."""
    return base64.urlsafe_b64encode(b"1" + user.encode()).decode().rstrip("=")


async def _after(
    cursor: Annotated[
        str | None, Query(description="next_cursor of the page before.", max_length=2_000)
    ] = None,
) -> str:
    if cursor is None:
        return ""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        if raw[:1] == b"1":
            return checked_user_id(raw[1:].decode())
    except (binascii.Error, ValueError):
        pass
    detail = "not a cursor of ours"
    raise Problem(422, "invalid-cursor", detail, errors=[{"detail": detail, "parameter": "cursor"}])


TheMemberships = Annotated[Memberships, Depends(_memberships)]
TheSegments = Annotated[Segments, Depends(_segments)]
TheOutputs = Annotated[Outputs, Depends(_outputs)]
TheStreams = Annotated[Streams, Depends(_streams)]
TheProfiles = Annotated[Profiles, Depends(_profiles)]
TheClock = Annotated[Clock, Depends(_clock)]
TheFreshness = Annotated[Freshness, Depends(_freshness)]
AskedUser = Annotated[str, Depends(_user_id)]
After = Annotated[str, Depends(_after)]
