"""Who may come in: write keys, the web pages they may be used on, how much and how often."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.serving.ingest.desk import WRITE_KEY
from headrace.serving.ingest.known import Knowledge, Known
from headrace.serving.limits import Buckets, Guesses, Monotonic, too_many
from headrace.serving.problems import Problem, unavailable
from headrace.store import Source
from headrace.store.sources import hashed

LONGEST_KEY: Final = 256
# Two seconds' worth may come at once.
BURST_SECONDS: Final = 2


class Gate:
    """Admits requests by their write key."""

    def __init__(self, known: Known, monotonic: Monotonic = time.monotonic) -> None:
        self._known = known
        self._sources = Buckets(monotonic)
        self._guesses = Guesses(monotonic)

    def knowledge(self) -> Knowledge:
        """What is known; Problem 503 before anything has been read."""
        if self._known.now is None:
            raise unavailable("sources-unavailable", "write keys cannot be checked at the moment")
        return self._known.now

    def check_header(self, connection: HTTPConnection) -> None:
        """Turn away, before anything of a body is read, whom `source` would turn away after it."""
        if "authorization" in connection.headers:
            self.source(connection)
        else:  # the key may be in the body, of those who have not shown too many wrong ones
            self.knowledge()
            self._guesses.count(connection, 0)

    def source(self, request: HTTPConnection, body: Any = None) -> Source:
        """The source whose key ``request``, or its JSON ``body``, shows."""
        key = _key_of(request.headers, body)
        found = self.knowledge().sources.get(hashed(key)) if key else None
        if found is None:
            self._guesses.count(request)
            raise Problem(
                401,
                "unknown-key",
                "no source has this write key" if key else "a write key is missing",
                headers={"WWW-Authenticate": 'Bearer realm="headrace"'},
            )
        origin = request.headers.get("origin")
        if origin is not None and origin not in found.origins:
            detail = f"this key is not for pages of {origin[:200]!r}"
            raise Problem(403, "origin-not-allowed", detail)
        return found

    def count(self, source: Source, events: int) -> None:
        """Let ``source`` send that many now; Problem 429 when that is too many."""
        rate = source.events_per_second
        wait = self._sources.take(source.name, events, rate=rate, most=rate * BURST_SECONDS)
        if wait:
            raise too_many("too-many-events", f"more than {rate} events a second", wait)


def _key_of(headers: Mapping[str, str], body: Any) -> str:
    """The key as libraries give it: Basic's user, a Bearer token, or ``writeKey`` in the body."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    key = ""
    match scheme.lower():
        case "bearer":
            key = given.strip()
        case "basic":
            try:
                key = base64.b64decode(given, validate=True).decode().partition(":")[0]
            except ValueError:  # no base64, no ASCII, no UTF-8
                key = ""
        case "" if isinstance(body, dict) and isinstance(body.get(WRITE_KEY), str):
            key = body[WRITE_KEY]
    return key if len(key) <= LONGEST_KEY else ""


class Cors:
    """Answers browsers on pages that some source names; the gate asks for the right source."""

    def __init__(self, app: ASGIApp, known: Known) -> None:
        self._app = app
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _origin(scope)
        if origin is None:
            await self._app(scope, receive, send)
            return
        known = self._known.now
        # Pages send events; what the process says of itself is not for them.
        is_ours = scope["path"].startswith("/v1/")
        is_known = is_ours and known is not None and origin in known.origins
        if _is_preflight(scope):
            answer = Response(status_code=204 if is_known else 403)
            if is_known:
                answer.headers["Access-Control-Allow-Methods"] = "POST, PATCH"
                answer.headers["Access-Control-Allow-Headers"] = (
                    "Authorization, Content-Type, Content-Encoding, Idempotency-Key"
                )
                answer.headers["Access-Control-Max-Age"] = "600"
                answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Vary"] = "Origin"
            await answer(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if is_known:
                    headers["Access-Control-Allow-Origin"] = origin
                    headers["Access-Control-Expose-Headers"] = "Retry-After"
            await send(message)

        await self._app(scope, receive, told)


def _origin(scope: Scope) -> str | None:
    if scope["type"] != "http":
        return None
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == b"origin"), None)


def _is_preflight(scope: Scope) -> bool:
    asks = any(name == b"access-control-request-method" for name, _ in scope["headers"])
    return scope["method"] == "OPTIONS" and asks
