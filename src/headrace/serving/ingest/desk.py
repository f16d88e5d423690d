"""What becomes of each event that comes in: judged as the stream will, and sent on its way.

An event that the stream will not accept goes to it all the same: there it is put aside with its
reason, can be read and repaired, and everything is counted in one place. Only what a source may
not say, or no broker would take, is refused here, and the sender is told.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, TypeAlias

import orjson

from headrace.clock import Instant
from headrace.engine.fields import Refusal
from headrace.engine.judge import MAX_BYTES, Judge
from headrace.kafka.acked import Message
from headrace.rules.catalog import LIST
from headrace.serving.ingest.calls import events_of
from headrace.serving.ingest.routing import NO_STREAM, Routes
from headrace.serving.ingest.spool import SOURCE
from headrace.serving.ingest.traffic import Traffic, marked, traffic_of
from headrace.store import Source

Status: TypeAlias = Literal["accepted", "quarantined", "refused"]

# Some libraries put the key into the body; it stays out of everything that is kept.
WRITE_KEY: Final = "writeKey"

# A number that needs more digits than a double has; its text must not pass through one.
_LONG_NUMBER: Final = re.compile(rb"[0-9.]{16,}")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one event; ``index`` is its place, or its call's, in the request."""

    index: int
    status: Status
    event_id: str | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The results of one request, and the messages that are to be sent."""

    results: tuple[Result, ...]
    messages: tuple[Message, ...]


def read_json(body: bytes) -> Any:
    """The value of ``body``, numbers exact; ValueError when it is no JSON."""
    if _LONG_NUMBER.search(body) is None:
        return orjson.loads(body)
    orjson.loads(body)  # this one knows the limits; the other reads what this one has read
    return json.loads(body, parse_float=_decimal, parse_int=_integer)


def write_json(value: Any) -> bytes:
    """``value`` as the JSON it was read from, but for spaces."""
    return orjson.dumps(value, default=_exactly)


class Desk:
    """Judges the events of one request from one source."""

    def __init__(
        self,
        source: Source,
        judge: Judge,
        routes: Routes,
        *,
        received: Instant,
        key: str = "",
        agent: str = "",
    ) -> None:
        """``agent`` is the User-Agent of the request."""
        self._agent = agent
        self._source = source
        self._judge = judge
        self._routes = routes
        self._received = received
        self._key = key
        self._headers = ((SOURCE, source.name.encode()),)

    def events(self, events: Sequence[Any]) -> Judged:
        """Take events in our own form; what they leave out is filled in."""
        results, messages = [], []
        traffic = traffic_of(self._source, self._agent)
        for index, event in enumerate(events):
            result, message = self._taken(index, self._filled(index, event), traffic)
            results.append(result)
            messages += [message] if message is not None else []
        return Judged(tuple(results), tuple(messages))

    def calls(self, calls: Sequence[Any], *, sent: Any, known: Mapping[str, Any]) -> Judged:
        """Take calls in Segment's form; one may make two events."""
        results, messages = [], []
        for index, call in enumerate(calls):
            traffic = traffic_of(self._source, _agent_of(call) or self._agent)
            for event, reason in self._called(call, sent, known):
                result, message = self._taken(index, self._filled(index, event), traffic, reason)
                results.append(result)
                messages += [message] if message is not None else []
        return Judged(tuple(results), tuple(messages))

    def _called(
        self, call: Any, sent: Any, known: Mapping[str, Any]
    ) -> list[tuple[Any, str | None]]:
        if not isinstance(call, dict):
            return [(call, "not-an-object")]
        try:
            made = events_of(
                call,
                received=self._received,
                sent=sent,
                known=known,
                joins=self._source.may_join,
            )
        except Refusal as refusal:
            # Under a name that no event has: the stream puts it aside, whatever it says.
            kept = {name: value for name, value in call.items() if name != WRITE_KEY}
            return [({"call": kept}, refusal.reason)]
        return [(event, None) for event in made]

    def _filled(self, index: int, event: Any) -> Any:
        """``event`` with an id and an instant; the same id for the same place under one key."""
        if not isinstance(event, dict):
            return event
        filled = {name: value for name, value in event.items() if name != WRITE_KEY}
        if filled.get("event_id") is None:
            kind = filled.get("type")
            filled["event_id"] = self._identity(index, kind if isinstance(kind, str) else "")
        if filled.get("ts") is None:
            filled["ts"] = self._received
        return filled

    def _identity(self, index: int, kind: str) -> str:
        if not self._key:
            return str(uuid.uuid4())
        told = f"{self._source.name}\0{self._key}\0{index}\0{kind}".encode()
        return hashlib.sha256(told).hexdigest()[:32]

    def _taken(
        self, index: int, event: Any, traffic: Traffic | None, reason: str | None = None
    ) -> tuple[Result, Message | None]:
        event = marked(event, traffic)
        try:
            value = write_json(event)
        except TypeError:  # nested deeper than JSON is written
            return Result(index, "refused", None, "too-deep"), None
        known = event.get("event_id") if isinstance(event, dict) else None
        identity = known if isinstance(known, str) else None
        refused = self._refused(event, value, traffic)
        if refused is not None:
            return Result(index, "refused", identity, refused), None
        route = self._routes.of(self._source.name, event.get("type") if identity else None)
        user = ""
        try:
            mapper = route.mapper
            mapped = value if mapper is None else mapper.mapped(value, partition=0, offset=0)
            user = self._judge.fact(mapped)[1]
        except Refusal as refusal:
            reason = reason or refusal.reason
        if route.is_paused:
            reason = reason or NO_STREAM
        message = Message(user.encode(), value, self._headers, route.topic)
        return Result(index, "quarantined" if reason else "accepted", identity, reason), message

    def _refused(self, event: Any, value: bytes, traffic: Traffic | None) -> str | None:
        """Why this must not reach the stream, if it must not."""
        if traffic == "bot" and self._source.bots == "refuse":
            return "bot"
        if len(value) > MAX_BYTES:
            return "too-large"
        if not isinstance(event, dict):
            return None
        kind, traits = event.get("type"), event.get("traits")
        if kind == "delete" and not self._source.may_delete:
            return "may-not-delete"
        if kind == "alias" and not self._source.may_join:
            return "may-not-join"
        if kind == "traits" and isinstance(traits, dict):
            # Who is on a list is a person's decision, not a sender's.
            return "list-trait" if any(name.startswith(LIST) for name in traits) else None
        return None


def _agent_of(call: Any) -> str:
    """The program of a person for whom a backend makes a call, as Segment's libraries say it."""
    context = call.get("context") if isinstance(call, dict) else None
    agent = context.get("userAgent") if isinstance(context, dict) else None
    return agent if isinstance(agent, str) else ""


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits; above zero it was refused before
        return Decimal(0)


def _integer(text: str) -> int | Decimal:
    # Beyond 64 bits nobody writes a whole number back; its text stays.
    return int(text) if len(text) < 19 else Decimal(text)


def _exactly(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError
