"""Every kind of value the door must refuse, as real producers send them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from headrace.clock import DAY, HOUR, Instant

Maker: TypeAlias = Callable[[str, str, Instant], bytes]


@dataclass(frozen=True, slots=True)
class Garbage:
    """``make(event id, user id, now)`` gives bytes that are refused for ``reason``."""

    reason: str
    make: Maker


def purchase(event: str, user: str, now: Instant, **changes: Any) -> bytes:
    """A good purchase with some keys changed; ``...`` takes a key away."""
    line = {
        "event_id": event,
        "user_id": user,
        "type": "purchase",
        "ts": now,
        "properties": {"amount": 9.99},
        **changes,
    }
    return orjson.dumps({key: value for key, value in line.items() if value is not ...})


def nested(event: str, user: str, now: Instant) -> bytes:
    """Deeper than any honest event."""
    deep: Any = 1
    for _ in range(40):
        deep = {"deeper": deep}
    return purchase(event, user, now, properties=deep)


GARBAGE: tuple[Garbage, ...] = (
    Garbage("not-json", lambda e, u, t: purchase(e, u, t)[:-9]),
    Garbage("not-json", lambda e, u, t: b"hello"),
    Garbage("not-json", lambda e, u, t: b""),
    Garbage("not-json", lambda e, u, t: purchase(e, u, t).replace(b"9.99", b"NaN")),
    Garbage("not-an-object", lambda e, u, t: b"[" + purchase(e, u, t) + b"]"),
    Garbage("not-an-object", lambda e, u, t: b'"purchase"'),
    Garbage(
        "invalid-utf8",
        lambda e, u, t: purchase(e, u, t).replace(b"purchase", b"pur\xff\xfe"),
    ),
    Garbage("nul-character", lambda e, u, t: purchase(e, u + "\0", t)),
    Garbage(
        "too-large",
        lambda e, u, t: purchase(e, u, t, properties={"sku": "x" * 300_000}),
    ),
    Garbage("too-deep", nested),
    Garbage("missing-event-id", lambda e, u, t: purchase(e, u, t, event_id=...)),
    Garbage("missing-user-id", lambda e, u, t: purchase(e, u, t, user_id=...)),
    Garbage("missing-type", lambda e, u, t: purchase(e, u, t, type=...)),
    Garbage("missing-ts", lambda e, u, t: purchase(e, u, t, ts=...)),
    Garbage("bad-id", lambda e, u, t: purchase(e, "u" * 300, t)),
    Garbage("bad-ts", lambda e, u, t: purchase(e, u, t, ts="yesterday")),
    Garbage("bad-ts", lambda e, u, t: purchase(e, u, t, ts="2026-01-01T00:00:00")),
    Garbage("wrong-type", lambda e, u, t: purchase(e, u, t, properties={"amount": "9.99"})),
    Garbage("wrong-type", lambda e, u, t: purchase(e, u, t, properties={"items": 2.5})),
    Garbage("out-of-range", lambda e, u, t: purchase(e, u, t, properties={"amount": 10**12})),
    Garbage("unknown-type", lambda e, u, t: purchase(e, u, t, type="purchse")),
    Garbage("future", lambda e, u, t: purchase(e, u, t + 30 * DAY)),
    Garbage("future", lambda e, u, t: purchase(e, u, t + 6 * HOUR)),
    Garbage("too-old", lambda e, u, t: purchase(e, u, 978_307_200_000)),
)
