"""/livez, /readyz, /startupz and /metrics: for those who run the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from headrace.cache.model import CacheDown, Incomplete, LoaderStatus
from headrace.clock import SECOND, Instant, format_instant
from headrace.errors import OperatorError
from headrace.metrics import CONTENT_TYPE, Metrics
from headrace.serving.asking import TheClock, TheMemberships, TheSegments
from headrace.serving.models import Alive, Check, Readiness
from headrace.serving.problems import problem_of

router = APIRouter(tags=["operation"])
# The loader speaks once a second.
SILENT_AFTER = 15 * SECOND


async def _metrics(request: Request) -> Metrics:
    found: Metrics = request.app.state.metrics
    return found


@router.get("/livez")
async def is_alive(clock: TheClock) -> Alive:
    """The process answers; a restart would not help anything else."""
    return Alive(status="alive", as_of=format_instant(clock()))


@router.get("/startupz")
async def is_started(clock: TheClock) -> Alive:
    """The process has started."""
    return Alive(status="started", as_of=format_instant(clock()))


@router.get("/readyz", responses={503: {"model": Readiness, "description": "Not ready."}})
async def is_ready(
    memberships: TheMemberships, segments: TheSegments, clock: TheClock, response: Response
) -> Readiness:
    """Ready when memberships can be read; segments' texts and the loader are only reported."""
    as_of: Instant | None = None
    loader: LoaderStatus | None = None
    cache = Check(ok=True)
    try:
        loader = await memberships.loader()
        as_of = (await memberships.users([])).as_of
    except (Incomplete, CacheDown) as error:
        cache = Check(ok=False, detail=problem_of(error).detail)
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return Readiness(
        status="ready" if cache.ok else "not ready",
        as_of=None if as_of is None else format_instant(as_of),
        lag=loader.lag if loader else None,
        checks={
            "cache": cache,
            "loader": _loader_check(loader, clock()),
            "definitions": await _definitions_check(segments),
        },
    )


def _loader_check(loader: LoaderStatus | None, now: Instant) -> Check:
    if loader is None:
        return Check(ok=False, detail="has never run")
    if now - loader.at > SILENT_AFTER:
        return Check(ok=False, detail=f"silent since {format_instant(loader.at)}")
    return Check(ok=loader.state == "loading", detail=loader.detail or loader.state)


async def _definitions_check(segments: TheSegments) -> Check:
    try:
        defined = await segments.definitions()
    except OperatorError:
        return Check(ok=False, detail="segments cannot be read at the moment")
    return Check(ok=True, detail=f"as of {format_instant(defined.as_of)}")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def read_metrics(
    memberships: TheMemberships, clock: TheClock, metrics: Annotated[Metrics, Depends(_metrics)]
) -> Response:
    """Prometheus text: freshness and sizes as of now, requests since the start."""
    try:
        sizes = await memberships.sizes()
    except (Incomplete, CacheDown):
        pass  # absent numbers raise the alert; old ones would hide the trouble
    else:
        metrics.set("headrace_freshness_seconds", max(0, clock() - sizes.as_of) / SECOND)
        for segment, size in sizes.segments.items():
            metrics.set("headrace_segment_members", size.members, segment=segment)
    return Response(metrics.text(), media_type=CONTENT_TYPE)
