"""Errors as RFC 9457 problems: one shape, a stable code, pointers to what was wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response

from headrace.cache.model import CacheDown, Incomplete
from headrace.errors import HeadraceError, OperatorError
from headrace.lake.tables import LakeDown

Responses = dict[int | str, dict[str, Any]]
MEDIA_TYPE = "application/problem+json"
# A rebuild of a small cache takes seconds, of a large one a minute: asking twice is cheap.
RETRY_AFTER_SECONDS = 5


class ProblemError(BaseModel):
    """One thing that was wrong with the request."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class ProblemBody(BaseModel):
    """RFC 9457, with a stable ``code``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "nobody has ever seen a user 'ann'",
                    "code": "unknown-user",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemError] | None = None


@dataclass(slots=True)
class Problem(Exception):
    """A request we do not fulfil. Raised by routes, printed in one place."""

    status: int
    code: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The problem as it goes out."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = list(self.errors)
        return Response(
            orjson.dumps(body), self.status, headers=dict(self.headers), media_type=MEDIA_TYPE
        )


def unavailable(code: str, detail: str) -> Problem:
    """Not now: the same request may succeed soon."""
    return Problem(503, code, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def problem_of(error: HeadraceError) -> Problem:
    """What a domain error is to a client. Addresses and settings stay in our logs."""
    match error:
        case Incomplete():
            return unavailable("cache-incomplete", "memberships are being loaded")
        case CacheDown():
            return unavailable("cache-unavailable", "memberships cannot be read at the moment")
        case LakeDown():
            return unavailable("tables-unavailable", "the tables cannot be read at the moment")
        case OperatorError():
            return unavailable(
                "definitions-unavailable", "definitions cannot be read at the moment"
            )
        case _:
            return Problem(500, "internal-error", "something went wrong on our side")


NAMES = {404: "no-such-resource", 405: "method-not-allowed", 400: "invalid-json"}


def install(app: FastAPI) -> None:
    """Let every error of ``app`` leave as a problem."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response()

    async def domain(_: Request, error: Exception) -> Response:
        assert isinstance(error, HeadraceError)
        return problem_of(error).response()

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = NAMES.get(error.status_code, "refused")
        headers = dict(error.headers or {})
        return Problem(error.status_code, code, str(error.detail), headers=headers).response()

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = error.errors()
        if any(part["type"] == "json_invalid" for part in found):
            return Problem(400, "invalid-json", "the body is not JSON").response()
        count = f"{len(found)} errors" if len(found) > 1 else "an error"
        errors = [_located(part) for part in found]
        return Problem(422, "invalid-request", f"{count} in the request", errors).response()

    async def unexpected(_: Request, __: Exception) -> Response:
        return Problem(500, "internal-error", "something went wrong on our side").response()

    app.add_exception_handler(Problem, ours)
    app.add_exception_handler(HeadraceError, domain)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def _located(part: Mapping[str, Any]) -> dict[str, str]:
    where, *path = part["loc"]
    if where == "body":
        steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
        return {"detail": part["msg"], "pointer": "#" + "".join(f"/{step}" for step in steps)}
    return {"detail": part["msg"], "parameter": ".".join(map(str, path))}
