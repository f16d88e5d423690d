"""One request from the gate past the desk to the sender."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from headrace.clock import Clock
from headrace.kafka.acked import Busy
from headrace.metrics import Metrics
from headrace.serving.ingest import cloudevents
from headrace.serving.ingest.answers import Answers, Remembered
from headrace.serving.ingest.body import json_of, plain
from headrace.serving.ingest.desk import Desk, Judged, write_json
from headrace.serving.ingest.gate import Gate
from headrace.serving.ingest.known import Known
from headrace.serving.ingest.sender import Sender
from headrace.serving.ingest.spool import Full, Spool
from headrace.serving.problems import Problem, unavailable
from headrace.store import Source

MOST_EVENTS: Final = 1_000
# Answers kept for those who ask again under the same Idempotency-Key.
REMEMBERED_BYTES: Final = 16 << 20
BUSY_SECONDS: Final = 1


class Reception:
    """Takes requests from the gate past the desk to the sender."""

    def __init__(
        self,
        known: Known,
        gate: Gate,
        sender: Sender,
        spool: Spool,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.known = known
        self.spool = spool
        self.metrics = metrics
        self._sender = sender
        self._clock = clock
        self._gate = gate
        self._answers = Answers(REMEMBERED_BYTES)

    async def take(self, request: Request, call: str | None, key: str, status: int) -> Response:
        """Take the events, or the calls of kind ``call``, in the body of ``request``."""
        text = plain(await request.body(), request.headers.get("content-encoding", ""))
        if call is None and cloudevents.is_cloud_event(request.headers):
            source = self._gate.source(request)
            body: Any = cloudevents.events_of(request.headers, json_of(text) if text else None)
            text = _written(body)  # with what the headers say
        else:
            body = json_of(text)
            source = self._gate.source(request, body)
        agent = request.headers.get("user-agent", "")
        return await self._answered(
            source, text, key, status, lambda told: self._judged(source, body, call, told, agent)
        )

    async def take_fact(self, request: Request, fact: Mapping[str, Any], key: str) -> Response:
        """Take one fact that path and body state together. Problem 422 when it is none: nobody
        waits for a person to repair what its sender still holds."""
        source = self._gate.source(request)
        computed = self._gate.knowledge().catalog.computed
        for name in fact.get("traits", ()):
            if name in computed:
                detail = f"{name!r} is computed from events: nobody sets it"
                raise Problem(422, "computed-trait", detail)

        def judged(told: str) -> Judged:
            found = self._judged(source, fact, None, told, "")
            (result,) = found.results
            if result.reason is not None:
                raise Problem(422, "not-a-fact", f"this cannot be said of a user: {result.reason}")
            return found

        return await self._answered(source, _written(fact), key, 202, judged)

    async def _answered(
        self,
        source: Source,
        text: bytes,
        key: str,
        status: int,
        judge: Callable[[str], Judged],
    ) -> Response:
        digest = hashlib.sha256(text).hexdigest()
        before = self._answers.find(source, key, digest) if key else None
        if before is not None:
            return Response(before.answer, before.status, media_type="application/json")
        # Under a key that was forgotten here, another body must not get the ids of the first.
        judged = judge(f"{key} {digest}" if key else "")
        answer = await self._delivered(source, judged)
        if key:
            self._answers.keep(source, key, Remembered(digest, answer, status))
        return Response(answer, status, media_type="application/json")

    def _judged(self, source: Source, body: Any, call: str | None, key: str, agent: str) -> Judged:
        parts = _parts(body, call)
        if not parts:
            raise Problem(422, "no-events", "there is no event in the body")
        if len(parts) > MOST_EVENTS:
            detail = f"{len(parts)} events; at most {MOST_EVENTS} may come at once"
            raise Problem(422, "too-many-at-once", detail)
        self._gate.count(source, len(parts))
        now, knowledge = self._clock(), self._gate.knowledge()
        judge = self.known.judge(knowledge, now)
        desk = Desk(source, judge, knowledge.routes, received=now, key=key, agent=agent)
        if call is None:
            judged = desk.events(parts)
        else:
            sent = body.get("sentAt") if isinstance(body, dict) else None
            judged = desk.calls(parts, sent=sent, known=knowledge.catalog.events)
        if not judged.messages:
            errors = [
                {"detail": result.reason or "", "pointer": f"#/{result.index}"}
                for result in judged.results
            ]
            self._count(source, judged)
            raise Problem(422, "all-refused", "this key may send none of these events", errors)
        return judged

    async def _delivered(self, source: Source, judged: Judged) -> bytes:
        try:
            kept = await self._sender.deliver(judged.messages)
        except Busy:
            problem = unavailable("broker-slow", "more events wait for Kafka than may wait")
            problem.headers = {"Retry-After": str(BUSY_SECONDS)}
            raise problem from None
        except Full:
            detail = "Kafka takes no events, and there is no more room on disk to keep them"
            raise unavailable("spool-full", detail) from None
        counts = self._count(source, judged)
        results = [
            {name: value for name in ("index", "status", "event_id", "reason")
             if (value := getattr(result, name)) is not None}
            for result in judged.results
        ]  # fmt: skip
        return orjson.dumps({"kept": kept, **counts, "results": results})

    def _count(self, source: Source, judged: Judged) -> dict[str, int]:
        found = Counter(result.status for result in judged.results)
        for status, count in found.items():
            self.metrics.count(
                "headrace_ingest_events_total", count, source=source.name, status=status
            )
        return {status: found[status] for status in ("accepted", "quarantined", "refused")}


def _written(value: Any) -> bytes:
    try:
        return write_json(value)
    except TypeError:
        raise Problem(422, "too-deep", "the body is nested too deep") from None


def _parts(body: Any, call: str | None) -> list[Any]:
    """The events or calls of a body: one, a list of them, or Segment's ``batch``."""
    if call == "batch":
        batch = body.get("batch") if isinstance(body, dict) else None
        if not isinstance(batch, list):
            raise Problem(422, "no-batch", "a batch is an object with a list `batch`")
        return batch
    if call is not None:
        if not isinstance(body, dict):
            raise Problem(422, "no-call", "a call is an object")
        return [{**body, "type": call}]
    if not isinstance(body, list | dict):
        raise Problem(422, "no-events", "an event is an object")
    return body if isinstance(body, list) else [body]
