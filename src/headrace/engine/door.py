"""The door: bytes as they came -> accepted facts and rejected rows, each with its reason.

Every row is judged by itself, by one short path for what is usual and slower ones for what is
not, so that a bad row neither stops nor slows the others.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from headrace.clock import HOUR
from headrace.engine.fields import (
    Refusal,
    checker,
    depth_exceeds,
    instant,
    stray_reason,
)
from headrace.engine.state import EVENTS_SCHEMA
from headrace.rules.catalog import Catalog

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_ID = 256
AHEAD = HOUR


Fact: TypeAlias = tuple[str | None, str, str, int, str]  # event_id, user_id, type, ts, properties

_sorted = orjson.OPT_SORT_KEYS


def admit(
    raw: pa.Table, *, catalog: Catalog, now: int | None, retention_ms: int | None
) -> pa.Table:
    """Judge each row of ``raw`` (value, topic, partition, offset) by itself; see EVENTS_SCHEMA.

    Without ``now`` (files) nothing is too far ahead or too old, but for instants before 1970.
    """
    judge = Door(catalog, now=now, retention_ms=retention_ms).judge
    values = raw["value"].to_pylist()
    facts: list[Fact | tuple[None, ...]] = []
    reasons: list[str | None] = [None] * len(values)
    nothing = (None,) * 5
    for row, value in enumerate(values):
        try:
            facts.append(judge(value))
        except Refusal as refusal:
            facts.append(nothing)
            reasons[row] = refusal.reason
    rejected = [reason is not None for reason in reasons]
    columns: list[Any] = list(zip(*facts, strict=True)) if facts else [()] * 5
    accepted = pa.array(rejected, pa.bool_())
    verdict = pc.if_else(accepted, "rejected", "accepted").cast(pa.string())
    bad = [value if reason else None for value, reason in zip(values, reasons, strict=True)]
    arrays = [pa.array(column, EVENTS_SCHEMA.field(i).type) for i, column in enumerate(columns)]
    arrays += [verdict, pa.array(reasons, pa.string()), pa.array(bad, pa.binary())]
    arrays += [
        raw[name].cast(EVENTS_SCHEMA.field(name).type) for name in ("topic", "partition", "offset")
    ]
    return pa.table(arrays, schema=EVENTS_SCHEMA)


class Door:
    """Judges single messages against one catalog."""

    def __init__(
        self, catalog: Catalog, *, now: int | None = None, retention_ms: int | None = None
    ) -> None:
        self._latest = 253_402_300_799_999 if now is None else now + AHEAD
        self._earliest = 0
        if now is not None and retention_ms is not None:
            self._earliest = max(0, now - retention_ms)
        self._strict_types = catalog.events_mode != "evolve"
        self._strict_properties = catalog.properties_mode != "evolve"
        self._types = {
            name: {key: checker(of.type) for key, of in event.properties.items()}
            for name, event in catalog.events.items()
        }
        self._traits = {name: checker(of.type) for name, of in catalog.traits.items()}

    def judge(self, value: bytes | None) -> Fact:
        """The fact that ``value`` states; raises Refusal when it is none."""
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
        # As many openers as levels are needed to nest, so few of them prove the depth.
        if value.count(b"{") + value.count(b"[") > MAX_DEPTH and depth_exceeds(line, MAX_DEPTH):
            raise Refusal("too-deep")
        if b"\\u0000" in value and _holds_nul(line):
            raise Refusal("nul-character")
        kind = line.get("type")
        if type(kind) is not str or not 0 < len(kind) <= MAX_ID:
            raise Refusal("missing-type" if kind is None or kind == "" else "wrong-type")
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
            return event_id, user, kind, ts, "{}"
        facts = line.get("traits" if kind == "traits" else "properties")
        if facts is None:
            facts = {}
        elif type(facts) is not dict:
            raise Refusal("wrong-type")
        checks = self._traits if kind == "traits" else self._types.get(kind)
        if checks is None:
            if self._strict_types:
                raise Refusal("unknown-type")
            checks = {}
        strict = self._strict_properties and kind != "traits"
        for name, fact in facts.items():
            check = checks.get(name)
            if check is None:
                if strict:
                    raise Refusal("unknown-property")
            elif fact is not None:
                kept = check(fact, value, kind, name)
                if kept is not fact:
                    facts[name] = kept
        return event_id, user, kind, ts, orjson.dumps(facts, option=_sorted).decode()

    def _alias(self, line: dict[str, Any]) -> Fact:
        source = _identity(line.get("from"), "missing-user-id")
        target = _identity(line.get("to"), "missing-user-id")
        ts = self._instant(line.get("ts"))
        event_id = line.get("event_id")
        if event_id is not None:
            _identity(event_id, "missing-event-id")
        ends = orjson.dumps({"from": source, "to": target}, option=_sorted).decode()
        return event_id, target, "alias", ts, ends

    def _instant(self, ts: Any) -> int:
        if ts is None:
            raise Refusal("missing-ts")
        if type(ts) is not int:
            if type(ts) is not str:
                raise Refusal("bad-ts")
            ts = instant(ts)
        if ts > self._latest:
            raise Refusal("future" if self._latest < 253_402_300_799_999 else "bad-ts")
        if ts < self._earliest:
            raise Refusal("too-old")
        return int(ts)


def _identity(text: Any, absent: str) -> str:
    if type(text) is str:
        if 0 < len(text) <= MAX_ID:
            return text
        raise Refusal("bad-id")
    raise Refusal(absent if text is None else "wrong-type")


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, list):
        return any(_holds_nul(part) for part in value)
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(part) for key, part in value.items())
    return False
