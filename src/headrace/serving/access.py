"""Who may ask, and change, what: API keys, and what each route needs.

Every route of ours is a `Guarded` one and stands in `NEEDED`; an API with one that does not, does
not start. What describes them (`/docs`, `/openapi.json`) is for everybody. Keys are read every few
seconds: while Postgres is away those known last go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.responses import Response

from headrace.clock import SECOND, Clock, system_clock
from headrace.serving.limits import Guesses, Monotonic
from headrace.serving.problems import Problem, unavailable
from headrace.serving.refreshing import keep_fresh
from headrace.store.api_keys import MAY, ApiKey, Permission, Role, open_ones
from headrace.store.sources import hashed

Needed = Permission | Literal["nothing"]

NEEDED: Final[Mapping[str, Needed]] = {
    "is_alive": "nothing",
    "is_started": "nothing",
    "is_ready": "nothing",
    "read_metrics": "read",
    "read_user": "read",
    "read_user_segments": "read",
    "read_user_profile": "read",
    "read_timeline": "read",
    "search_users": "read",
    "read_batch": "read",
    "list_segments": "read",
    "read_segment": "read",
    "list_members": "read",
    "export_segment": "read",
    "list_streams": "read",
    "read_stream": "read",
    "read_stream_health": "read",
    "list_reasons": "read",
    # Whole messages, as they came: nobody can tell what in them identifies a person.
    "list_dead_letters": "reveal",
    "add_stream": "operate",
    "activate_stream": "operate",
    "pause_stream": "operate",
    "retire_stream": "operate",
    "replay_dead_letters": "operate",
}
"""What the caller of each route must be allowed to do."""

REFRESH_SECONDS: Final = 3.0
LONGEST_KEY: Final = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the audit log names him, and what he may do."""

    name: str
    may: frozenset[Permission]

    @property
    def sees_all(self) -> bool:
        """May he see what identifies a person?"""
        return "reveal" in self.may


class Keyring:
    """The open keys. Who comes without one is ``anonymous``, if that is a role."""

    def __init__(
        self,
        keys: Callable[[], Sequence[ApiKey]] = list,
        note_used: Callable[[Mapping[str, datetime]], None] = lambda used: None,
        *,
        anonymous: Role | None = None,
        clock: Clock = system_clock,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._keys = keys
        self._note_used = note_used
        self._anonymous = None if anonymous is None else Caller("anonymous", MAY[anonymous])
        self._clock = clock
        self._open: Mapping[str, ApiKey] | None = None
        self._used: dict[str, datetime] = {}
        self._guesses = Guesses(monotonic)

    def refresh(self) -> None:
        """Read the keys anew, and tell which were used; raises OperatorError, and keeps them."""
        self._open = open_ones(self._keys(), self._now())
        used, self._used = self._used, {}
        if used:
            self._note_used(used)

    async def keep_fresh(self) -> None:
        """Refresh until cancelled."""
        refresh = partial(asyncio.to_thread, self.refresh)
        await keep_fresh(refresh, seconds=REFRESH_SECONDS, stale="API keys stay as they were")

    def admitted(self, request: HTTPConnection, needed: Needed) -> Caller:
        """Who sends ``request``. Problem 401 for nobody we know, 403 for who may not do that."""
        caller = self.caller(request)
        if needed != "nothing" and needed not in caller.may:
            raise Problem(403, "not-allowed", f"{caller.name} may not {needed} here")
        return caller

    def caller(self, request: HTTPConnection) -> Caller:
        """Who sends ``request``. Problem 401 for nobody we know, 503 while nobody can say."""
        given = request.headers.get("authorization")
        if given is None:
            if self._anonymous is None:
                raise _who_are_you("this needs an API key")
            return self._anonymous
        if self._open is None:
            raise unavailable("keys-unavailable", "API keys cannot be checked at the moment")
        scheme, _, text = given.partition(" ")
        key = text.strip() if scheme.lower() == "bearer" and len(text) <= LONGEST_KEY else ""
        found = self._open.get(hashed(key)) if key else None
        now = self._now()
        if found is None or not found.is_open(now):
            self._guesses.count(request)
            raise _who_are_you("this API key opens nothing")
        self._used[found.key_hash] = now
        return Caller(f"key {found.name}", found.may)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / SECOND, UTC)


def _who_are_you(detail: str) -> Problem:
    headers = {"WWW-Authenticate": 'Bearer realm="headrace"'}
    return Problem(401, "unknown-key", detail, headers=headers)


class Guarded(APIRoute):
    """A route that asks the app's keyring before it reads anything of a request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, behind its guard; KeyError for a route that `NEEDED` lacks."""
        handle, needed = super().get_route_handler(), NEEDED[self.name]

        async def guarded(request: Request) -> Response:
            keyring: Keyring = request.app.state.keyring
            if needed != "nothing":
                request.state.caller = keyring.admitted(request, needed)
            return await handle(request)

        return guarded
