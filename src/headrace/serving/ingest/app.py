"""The event API: a gate, a desk and a sender in, ASGI out."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Header, Path, Request, Response

from headrace.clock import Clock, system_clock
from headrace.metrics import CONTENT_TYPE, Metrics
from headrace.serving import problems
from headrace.serving.app import Lifespan, described
from headrace.serving.asking import AskedUser
from headrace.serving.edge import BodyLimit, KeyFirst, Measured, RawUserPaths
from headrace.serving.ingest.body import LARGEST, json_of, plain
from headrace.serving.ingest.calls import CALLS
from headrace.serving.ingest.gate import Cors, Gate
from headrace.serving.ingest.known import Known
from headrace.serving.ingest.models import CALL, EVENT, Alive, Ready, Taken
from headrace.serving.ingest.reception import MOST_EVENTS, Reception
from headrace.serving.ingest.sender import Sender
from headrace.serving.ingest.spool import Spool
from headrace.serving.limits import Monotonic
from headrace.serving.problems import Problem, ProblemBody, Responses

BODY_SECONDS: Final = 10.0
AT_ONCE: Final = 64 << 20  # bytes of all bodies that are being read or answered

DESCRIPTION = """\
Where events come in. An answer of 202 (200 for Segment's libraries) means that every event of it
is safe: on the Kafka broker, or synced to this machine's disk while the broker is away. Each event
is judged as the stream will judge it; one that will be put aside is named, with its reason. Every
error is `application/problem+json` with a stable `code`.
"""

REFUSALS: Responses = {
    code: {"model": ProblemBody, "description": text}
    for code, text in {
        400: "The body is not JSON, or not gzip.",
        401: "No source has this write key.",
        403: "The key is not for pages of this origin.",
        408: "The body came too slowly.",
        409: "The Idempotency-Key came with another body before.",
        413: "The body is too large.",
        415: "The body is packed in a way we do not know.",
        422: "There is no event in the body, or over 1,000, or none may be sent with this key.",
        429: "Too many events for this source, or too many wrong keys; see Retry-After.",
        503: "Not now; see Retry-After.",
    }.items()
}

router = APIRouter()
IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=256,
        description="The same key and body are one request, however often they are sent.",
    ),
]


def create_ingest_app(
    known: Known,
    sender: Sender,
    spool: Spool,
    *,
    metrics: Metrics,
    clock: Clock = system_clock,
    monotonic: Monotonic = time.monotonic,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The event API over what it is given; it opens and closes nothing itself."""
    app = FastAPI(
        title="Headrace events",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    gate = Gate(known, monotonic)
    app.state.reception = Reception(known, gate, sender, spool, metrics, clock)
    app.include_router(router)
    problems.install(app)
    app.add_middleware(BodyLimit, limit=LARGEST, seconds=BODY_SECONDS, at_once=AT_ONCE)
    app.add_middleware(KeyFirst, check=gate.check_header)
    app.add_middleware(Cors, known=known)
    app.add_middleware(RawUserPaths, tails=(b"/traits", b":forget"))
    app.add_middleware(Measured, metrics=metrics)
    describe = app.openapi
    # FastAPI asks the instance, so that an app may describe itself in its own way.
    app.openapi = lambda: _with_keys(described(describe()))  # type: ignore[method-assign]
    return app


def _with_keys(document: dict[str, Any]) -> dict[str, Any]:
    document["components"]["securitySchemes"] = {
        "writeKey": {"type": "http", "scheme": "bearer"},
        "writeKeyAsUser": {"type": "http", "scheme": "basic"},
    }
    return document


ONE: Final = {"type": "object"}
TRAITS: Final = {"type": "object", "minProperties": 1}
MANY: Final = {"type": "array", "items": {}, "minItems": 1, "maxItems": MOST_EVENTS}
ONE_OR_MORE: Final = {"anyOf": [ONE, MANY]}
BATCH: Final = {"type": "object", "required": ["batch"], "properties": {"batch": MANY}}


def _described_body(one: dict[str, Any], name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "description": name,
            "content": {"application/json": {"schema": schema, "example": one}},
        },
        "security": [{"writeKey": []}, {"writeKeyAsUser": []}],
    }


@router.post(
    "/v1/events",
    status_code=202,
    response_model=Taken,
    responses=REFUSALS,
    openapi_extra=_described_body(
        EVENT,
        "One event, or a list of up to 1,000; gzip is welcome. Or CloudEvents 1.0: structured, in"
        " batches (by Content-Type), or binary (by `ce-` headers).",
        ONE_OR_MORE,
    ),
    tags=["events"],
)
async def send_events(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Send events. Without an `event_id` one is made, from the Idempotency-Key if there is one."""
    reception: Reception = request.app.state.reception
    return await reception.take(request, None, idempotency_key or "", 202)


@router.patch(
    "/v1/users/{user_id}/traits",
    status_code=202,
    response_model=Taken,
    responses=REFUSALS,
    openapi_extra=_described_body(
        {"country": "DE", "age": None}, "Traits by name; null takes one away.", TRAITS
    ),
    tags=["users"],
)
async def set_traits(
    request: Request, user: AskedUser, idempotency_key: IdempotencyKey = None
) -> Response:
    """Say what is so of a user from now on. What the catalog does not allow is refused."""
    reception: Reception = request.app.state.reception
    traits = json_of(plain(await request.body(), request.headers.get("content-encoding", "")))
    if not isinstance(traits, dict) or not traits:
        raise Problem(422, "no-traits", "the body is an object of traits, and has at least one")
    fact = {"type": "traits", "user_id": user, "traits": traits}
    return await reception.take_fact(request, fact, idempotency_key or "")


@router.post(
    "/v1/users/{user_id}:forget",
    status_code=202,
    response_model=Taken,
    responses=REFUSALS,
    openapi_extra={"security": [{"writeKey": []}, {"writeKeyAsUser": []}]},
    tags=["users"],
)
async def forget_user(
    request: Request, user: AskedUser, idempotency_key: IdempotencyKey = None
) -> Response:
    """Forget everything of a user up to now, under all ids that are joined: for sources that
    ``may_delete``. ``headrace forget`` waits for it, and gives a receipt."""
    reception: Reception = request.app.state.reception
    fact = {"type": "delete", "user_id": user}
    return await reception.take_fact(request, fact, idempotency_key or "")


async def _called(request: Request, kind: str) -> Response:
    reception: Reception = request.app.state.reception
    return await reception.take(request, kind, "", 200)


@router.post(
    "/v1/segment/batch",
    response_model=Taken,
    responses=REFUSALS,
    openapi_extra=_described_body({"batch": [CALL]}, "Up to 1,000 calls.", BATCH),
    tags=["segment"],
)
async def make_segment_calls(request: Request) -> Response:
    """Take many calls at once, as libraries for Segment send them."""
    return await _called(request, "batch")


@router.post(
    "/v1/segment/{call}",
    response_model=Taken,
    responses={**REFUSALS, 404: {"model": ProblemBody, "description": "There is no such call."}},
    openapi_extra=_described_body(CALL, "A call as Segment's libraries make it.", ONE),
    tags=["segment"],
)
async def make_segment_call(
    request: Request,
    call: Annotated[
        str,
        Path(
            description="What the library calls; anything else is 404.",
            json_schema_extra={"enum": [*dict.fromkeys(CALLS.values())]},
        ),
    ],
) -> Response:
    """Take what libraries for Segment send: their host is `http://..:8081/v1/segment`."""
    kind = "batch" if call in ("batch", "import", "b") else CALLS.get(call)
    if kind is None:
        raise Problem(404, "no-such-resource", f"there is no call {call[:40]!r}")
    return await _called(request, kind)


# Libraries put /v1 behind the host they are given, whether or not it ends in our own path.
@router.post("/v1/segment/v1/{call}", include_in_schema=False)
async def make_call_of_library(request: Request, call: str) -> Response:
    """As `make_segment_call`."""
    return await make_segment_call(request, call)


@router.post("/v1/{call}", include_in_schema=False)
async def make_call_at_root(request: Request, call: str) -> Response:
    """As `make_segment_call`."""
    return await make_segment_call(request, call)


@router.get("/livez", tags=["operation"])
async def is_alive() -> Alive:
    """The process answers; a restart would not help anything else."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    responses={503: {"model": Ready, "description": "Not ready."}},
    tags=["operation"],
)
async def is_ready(request: Request, response: Response) -> Ready:
    """Ready when write keys can be checked: without Kafka events are kept on disk."""
    reception: Reception = request.app.state.reception
    known = reception.known.now
    waiting = reception.spool.bytes
    if known is None:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return Ready(
        status="not ready" if known is None else "ready",
        sources=len(known.sources) if known else 0,
        spool_bytes=waiting,
        detail="write keys cannot be checked at the moment" if known is None else "",
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
    tags=["operation"],
)
async def read_metrics(request: Request) -> Response:
    """Prometheus text."""
    reception: Reception = request.app.state.reception
    return Response(reception.metrics.text(), media_type=CONTENT_TYPE)
