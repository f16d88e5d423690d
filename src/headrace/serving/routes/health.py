"""/livez, /readyz, /startupz and /metrics: for those who run the API."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from headrace.cache.model import CacheDown, Incomplete, LoaderStatus, Sizes
from headrace.clock import SECOND, Instant, format_instant
from headrace.errors import OperatorError
from headrace.metrics import CONTENT_TYPE, GaugeName, Metrics
from headrace.rules.model import CONTINUOUS
from headrace.serving.access import Guarded
from headrace.serving.asking import TheClock, TheFreshness, TheMemberships, TheSegments
from headrace.serving.models.operation import Alive, Check, Readiness
from headrace.serving.problems import problem_of

router = APIRouter(route_class=Guarded, tags=["operation"])
# What is asked of the cache at every reading.
READ_ANEW: tuple[GaugeName, ...] = (
    "headrace_freshness_seconds",
    "headrace_segment_members",
    "headrace_segment_stale",
    "headrace_stale_segments",
)


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
    memberships: TheMemberships,
    segments: TheSegments,
    clock: TheClock,
    freshness: TheFreshness,
    response: Response,
) -> Readiness:
    """Ready when memberships can be read; how fresh they are, the loader and segments' texts are
    only reported: old answers are flagged, and better than none.
    """
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
    is_stale = None if as_of is None else freshness.is_stale(as_of)
    instant = None if as_of is None else format_instant(as_of)
    return Readiness(
        status="ready" if cache.ok else "not ready",
        as_of=instant,
        stale=is_stale,
        stale_since=instant if is_stale else None,
        lag=loader.lag if loader else None,
        checks={
            "cache": cache,
            "freshness": Check(
                ok=is_stale is False, detail=f"stale since {instant}" if is_stale else ""
            ),
            "loader": _loader_check(loader, clock()),
            "definitions": await _definitions_check(segments),
        },
    )


def _loader_check(loader: LoaderStatus | None, now: Instant) -> Check:
    if loader is None:
        return Check(ok=False, detail="has never run")
    if loader.is_silent(now):
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
    memberships: TheMemberships,
    segments: TheSegments,
    clock: TheClock,
    freshness: TheFreshness,
    metrics: Annotated[Metrics, Depends(_metrics)],
) -> Response:
    """Prometheus text: freshness and sizes as of now, requests since the start."""
    sizes: Sizes | None = None
    with suppress(Incomplete, CacheDown):
        sizes = await memberships.sizes()
    served = await _served(segments) | (sizes.segments.keys() if sizes else set())
    # Absent numbers raise the alert; old ones would hide the trouble.
    for name in READ_ANEW:
        metrics.forget(name)
    if sizes is not None:
        metrics.set("headrace_freshness_seconds", max(0, clock() - sizes.as_of) / SECOND)
        for segment, size in sizes.segments.items():
            metrics.set("headrace_segment_members", size.members, segment=segment)
    is_stale = sizes is None or freshness.is_stale(sizes.as_of)
    metrics.set("headrace_stale_segments", len(served) if is_stale else 0)
    for segment in served:
        metrics.set("headrace_segment_stale", float(is_stale), segment=segment)
    return Response(metrics.text(), media_type=CONTENT_TYPE)


async def _served(segments: TheSegments) -> set[str]:
    """The segments that should be served; none while nobody can say."""
    try:
        defined = await segments.definitions()
    except OperatorError:
        return set()
    return {name for name, row in defined.segments.items() if row.refresh == CONTINUOUS}
