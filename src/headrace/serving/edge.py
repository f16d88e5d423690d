"""What happens to a request before any route: raw paths, keys, body limits, measurements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.metrics import Metrics
from headrace.serving.problems import Problem, unavailable

USERS = b"/v1/users/"


class RawUserPaths:
    """Keeps user ids percent-encoded until the route has been found.

    Servers decode paths before routing, so an encoded slash in an id would look like one of ours.
    The id is everything behind ``/v1/users/``, up to one of ``tails``; an id that contains slashes
    may be written plainly, one that ends in such a tail must be encoded.
    """

    def __init__(self, app: ASGIApp, tails: tuple[bytes, ...]) -> None:
        self._app = app
        self._tails = tails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(USERS.decode()):
            raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
            raw = raw.partition(b"?")[0]
            if raw.startswith(USERS):
                user = raw[len(USERS) :]
                tail = next((tail for tail in self._tails if user.endswith(tail)), b"")
                user = user.removesuffix(tail)
                # A control sign or a space that came unencoded must not look like a path either.
                kept = quote(user.replace(b"/", b"%2F"), safe="%~!$&'()*+,;=:@")
                # In place: whoever measures reads the route from the same scope afterwards.
                scope["path"] = f"{USERS.decode()}{kept}{tail.decode()}"
        await self._app(scope, receive, send)


class KeyFirst:
    """Lets nobody send a body whose key could be judged without it.

    ``check`` raises Problem for those who are to be turned away.
    """

    def __init__(self, app: ASGIApp, check: Callable[[HTTPConnection], object]) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("POST", "PATCH"):
            try:
                self._check(HTTPConnection(scope))
            except Problem as problem:
                problem.headers = {**problem.headers, "Connection": "close"}
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Reads a body whole before the app sees it: never more than ``limit`` bytes, nor for long.

    Of all bodies together no more than ``at_once`` bytes are held, if that is given.
    """

    def __init__(self, app: ASGIApp, limit: int, seconds: float, at_once: int | None = None):
        self._app = app
        self._limit = limit
        self._seconds = seconds
        self._at_once = at_once
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            problem = await self._trouble(scope, receive, body)
            if problem is None:
                await self._app(scope, _replay(bytes(body), receive), send)
            else:
                problem.headers = {**problem.headers, "Connection": "close"}
                await problem.response()(scope, receive, send)
        finally:
            self._held -= len(body)

    async def _trouble(self, scope: Scope, receive: Receive, body: bytearray) -> Problem | None:
        """Fill ``body``, and say what is wrong with it if anything is."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._read(scope, receive, body)
        except TimeoutError:
            return Problem(408, "slow-body", f"the body took longer than {self._seconds:g} s")
        except Problem as problem:
            return problem
        return None

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        too_large = Problem(413, "body-too-large", f"a body may have {self._limit} bytes")
        for name, value in scope["headers"]:
            # A number of so many digits is too large whatever it is, and slow to read.
            if name == b"content-length" and (len(value) > 18 or int(value) > self._limit):
                raise too_large
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            part = message.get("body", b"")
            body += part
            self._held += len(part)
            if len(body) > self._limit:
                raise too_large
            if self._at_once is not None and self._held > self._at_once:
                raise unavailable("too-much-at-once", "too many bodies are being read")
            if not message.get("more_body"):
                return


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class Measured:
    """Counts and times every answer by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = "500"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # A route, never a path: paths carry user ids, and there is no end of them.
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.count("headrace_http_requests_total", route=route, status=status)
            self._metrics.observe(
                "headrace_http_seconds", time.perf_counter() - started, route=route
            )
