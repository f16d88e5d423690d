"""One message judged at length: the fact it states, or the reason why it states none."""

from __future__ import annotations

from typing import Any, TypeAlias

import orjson

from headrace.clock import HOUR
from headrace.engine.fields import Refusal, checker, depth_exceeds, instant, stray_reason
from headrace.rules.catalog import Catalog

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ID = 256
AHEAD = HOUR
LAST_INSTANT = 253_402_300_799_999
"""The end of the year 9999: what RFC 3339 can write."""

Fact: TypeAlias = tuple[str | None, str, str, int, bytes]
"""event_id, user_id, type, ts, canonical properties."""


class Judge:
    """Judges single messages by one catalog."""

    def __init__(self, catalog: Catalog, *, now: int | None, retention_ms: int | None) -> None:
        self.latest = LAST_INSTANT if now is None else now + AHEAD
        self.earliest = 0
        if now is not None and retention_ms is not None:
            self.earliest = max(0, now - retention_ms)
        self._strict_types = catalog.events_mode != "evolve"
        self._strict_properties = catalog.properties_mode != "evolve"
        self._types = {
            name: {key: checker(of.type) for key, of in event.properties.items()}
            for name, event in catalog.events.items()
        }
        self._traits = {name: checker(of.type) for name, of in catalog.traits.items()}

    def fact(self, value: bytes | None) -> Fact:
        """The fact that ``value`` states; raises Refusal when it is none."""
        line = self._line(value)
        kind = line.get("type")
        if kind is None or kind == "":
            raise Refusal("missing-type")
        if type(kind) is not str or len(kind) > MAX_ID:
            raise Refusal("wrong-type")
        if kind == "alias":
            return self._alias(line)
        user = _identity(line.get("user_id"), "missing-user-id")
        ts = self._instant(line.get("ts"))
        event_id = line.get("event_id")
        if event_id is not None:
            _identity(event_id, "missing-event-id")
        elif kind not in ("traits", "delete"):
            raise Refusal("missing-event-id")
        if kind == "delete":
            return event_id, user, kind, ts, b"{}"
        facts = self._checked(line, kind, value or b"")
        return event_id, user, kind, ts, orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)

    def _line(self, value: bytes | None) -> dict[str, Any]:
        if value is None:
            raise Refusal("not-json")
        if len(value) > MAX_BYTES:
            raise Refusal("too-large")
        try:
            line = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise Refusal(stray_reason(value)) from None
        if type(line) is not dict:
            raise Refusal("not-an-object")
        if value.count(b"{") + value.count(b"[") > MAX_DEPTH and depth_exceeds(line, MAX_DEPTH):
            raise Refusal("too-deep")
        if b"\\u0000" in value and _holds_nul(line):
            raise Refusal("nul-character")
        return line

    def _checked(self, line: dict[str, Any], kind: str, text: bytes) -> dict[str, Any]:
        """The properties or traits, rounded; each of the catalog's type."""
        is_traits = kind == "traits"
        checks = self._traits if is_traits else self._types.get(kind)
        if checks is None and self._strict_types:
            raise Refusal("unknown-type")
        facts = line.get("traits" if is_traits else "properties")
        if facts is None:
            return {}
        if type(facts) is not dict:
            raise Refusal("wrong-type")
        strict = self._strict_properties and not is_traits
        for name, fact in facts.items():
            check = checks.get(name) if checks else None
            if check is None:
                if strict:
                    raise Refusal("unknown-property")
            elif fact is not None:
                facts[name] = check(fact, text, kind, name)
        return facts

    def _alias(self, line: dict[str, Any]) -> Fact:
        source = _identity(line.get("from"), "missing-user-id")
        target = _identity(line.get("to"), "missing-user-id")
        ts = self._instant(line.get("ts"))
        event_id = line.get("event_id")
        if event_id is not None:
            _identity(event_id, "missing-event-id")
        ends = orjson.dumps({"from": source, "to": target})
        return event_id, target, "alias", ts, ends

    def _instant(self, ts: Any) -> int:
        if ts is None:
            raise Refusal("missing-ts")
        if type(ts) is not int:
            ts = instant(ts)
        if ts > LAST_INSTANT:
            raise Refusal("bad-ts")
        if ts > self.latest:
            raise Refusal("future")
        if ts < self.earliest:
            raise Refusal("too-old")
        return int(ts)


def _identity(text: Any, absent: str) -> str:
    if type(text) is str:
        if 0 < len(text) <= MAX_ID:
            return text
        raise Refusal("bad-id")
    raise Refusal(absent if text is None else "wrong-type")


def _holds_nul(value: Any) -> bool:
    """Is there a NUL in any text of a value (at most MAX_DEPTH deep)?"""
    match value:
        case str():
            return "\0" in value
        case list():
            return any(map(_holds_nul, value))
        case dict():
            return any(_holds_nul(key) or _holds_nul(part) for key, part in value.items())
        case _:
            return False
