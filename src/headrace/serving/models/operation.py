"""What the process says of itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from headrace.serving.models.common import AS_OF, example


class Check(BaseModel):
    """One thing the API depends on."""

    ok: bool
    detail: str = ""


class Readiness(BaseModel):
    """May traffic be sent here, and how fresh are the answers?"""

    model_config = example(
        status="ready",
        as_of=AS_OF,
        stale=False,
        stale_since=None,
        lag=0,
        checks={
            "cache": {"ok": True, "detail": ""},
            "freshness": {"ok": True, "detail": ""},
            "loader": {"ok": True, "detail": "loading"},
            "definitions": {"ok": True, "detail": ""},
        },
    )

    status: Literal["ready", "not ready"]
    as_of: str | None
    stale: Annotated[bool | None, Field(description="null while nothing can be answered.")]
    stale_since: Annotated[
        str | None, Field(description="Nothing that happened since is in the answers.")
    ]
    lag: Annotated[int | None, Field(description="Messages the loader has not applied yet.")]
    checks: dict[str, Check]


class Alive(BaseModel):
    """The process answers."""

    model_config = example(status="alive", as_of=AS_OF)

    status: Literal["alive", "started"]
    as_of: str
