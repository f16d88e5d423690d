"""The app: ports in, ASGI out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from fastapi import FastAPI

from headrace.clock import SECOND, Clock, system_clock
from headrace.metrics import Metrics
from headrace.serving import problems
from headrace.serving.access import Keyring
from headrace.serving.edge import BodyLimit, KeyFirst, Measured, RawUserPaths
from headrace.serving.exports import Exports
from headrace.serving.freshness import Freshness
from headrace.serving.ports import Ports
from headrace.serving.problems import ProblemBody
from headrace.serving.routes import (
    exports,
    health,
    letters,
    search,
    segments,
    streams,
    timeline,
    users,
)

# 1,000 ids of 256 characters of 4 bytes fit, if written plainly.
BODY_LIMIT = 2 << 20
BODY_SECONDS = 10.0
AT_ONCE = 64 << 20  # bytes of all bodies that are being read or answered

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
DESCRIPTION = """\
Who is in which segment. Every answer says `as_of` when it was true, and is flagged `stale` when
that is longer ago than the deployment allows; every error is
`application/problem+json` with a stable `code`. While memberships are being loaded the answer is
503 with `Retry-After`, never a wrong "not a member".
"""


def create_app(
    ports: Ports,
    keyring: Keyring,
    *,
    metrics: Metrics | None = None,
    clock: Clock = system_clock,
    freshness_target: int = 60 * SECOND,
    lifespan: Lifespan | None = None,
    body_limit: int = BODY_LIMIT,
) -> FastAPI:
    """The API over what it is given; it opens and closes nothing itself.

    Answers older than ``freshness_target`` ms are flagged as stale.
    """
    app = FastAPI(
        title="Headrace",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        responses={
            401: {"model": ProblemBody, "description": "This needs an API key that is known."},
            403: {"model": ProblemBody, "description": "The key does not allow this."},
            422: {"model": ProblemBody, "description": "The request is not as described."},
            429: {"model": ProblemBody, "description": "Too many wrong keys; see Retry-After."},
            503: {"model": ProblemBody, "description": "Not now; see Retry-After."},
        },
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.ports = ports
    app.state.keyring = keyring
    app.state.exports = Exports()
    app.state.metrics = metrics or Metrics()
    app.state.clock = clock
    app.state.freshness = Freshness(clock, freshness_target)
    for router in (
        search.router,
        users.router,
        timeline.router,
        segments.router,
        exports.router,
        streams.router,
        letters.router,
        health.router,
    ):
        app.include_router(router)
    problems.install(app)
    app.add_middleware(BodyLimit, limit=body_limit, seconds=BODY_SECONDS, at_once=AT_ONCE)
    app.add_middleware(KeyFirst, check=keyring.caller)
    app.add_middleware(RawUserPaths, tails=(b"/segments", b"/profile", b"/timeline"))
    app.add_middleware(Measured, metrics=app.state.metrics)
    describe = app.openapi
    # FastAPI asks the instance, so that an app may describe itself in its own way.
    app.openapi = lambda: _with_keys(described(describe()))  # type: ignore[method-assign]
    return app


def _with_keys(document: dict[str, Any]) -> dict[str, Any]:
    document["components"]["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
    # The second is for who comes without a key, where that is allowed.
    document["security"] = [{"apiKey": []}, {}]
    return document


def described(document: dict[str, Any]) -> dict[str, Any]:
    """Give every answer its example, and every problem its media type."""
    schemas = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                content = response.get("content", {})
                body = content.get("application/json")
                name = body["schema"].get("$ref", "").rpartition("/")[2] if body else ""
                if name in schemas:
                    body["example"] = schemas[name]["examples"][0]
                if name == ProblemBody.__name__:
                    content[problems.MEDIA_TYPE] = content.pop("application/json")
    return document


def openapi_text(app: FastAPI) -> str:
    """The app's OpenAPI document, as committed in serving/openapi.json."""
    return orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2).decode() + "\n"
