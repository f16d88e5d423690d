"""Calls as Segment's libraries make them -> events in our form.

Written from the public description of Segment's HTTP tracking API. ``context`` is not kept: it is
mostly about devices and addresses, and nobody has asked for it by name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final

from headrace.clock import MINUTE, Instant, format_instant
from headrace.engine.fields import Refusal, instant
from headrace.engine.judge import LAST_INSTANT

# What a library calls it -> what it is.
CALLS: Final[Mapping[str, str]] = {
    **{name: name for name in ("track", "identify", "alias", "page", "screen", "group")},
    "t": "track",
    "i": "identify",
    "a": "alias",
    "p": "page",
    "s": "screen",
    "g": "group",
}

# A clock that is wrong by less is right: what is sent again then says the same again.
TRUSTED_CLOCK: Final = MINUTE


def events_of(
    call: Mapping[str, Any],
    *,
    received: Instant,
    sent: Any = None,
    known: Collection[str] = (),
    joins: bool = True,
) -> tuple[dict[str, Any], ...]:
    """The events that ``call`` (of ``type`` track, identify, ..) states, as `Judge` reads them.

    ``sent`` is when the sender's clock says it was sent, ``known`` the event types of the catalog.
    Without ``joins`` an identify is about traits alone. Raises Refusal for what is no call.
    """
    kind = CALLS.get(call["type"]) if isinstance(call.get("type"), str) else None
    user, anonymous = _id(call.get("userId")), _id(call.get("anonymousId"))
    about: dict[str, Any] = {
        "event_id": call.get("messageId"),
        "user_id": anonymous if user is None else user,
        "ts": _when(call, call.get("sentAt", sent), received),
    }
    match kind:
        case "track":
            name = call.get("event")
            if not isinstance(name, str):
                raise Refusal("missing-type" if name is None else "wrong-type")
            facts = call.get("properties")
            return ({**about, "type": type_named(name, known), "properties": facts},)
        case "identify":
            events = [{**about, "type": "traits", "traits": call.get("traits")}]
            if joins and user is not None and anonymous not in (None, user):
                events.append(_join(about, anonymous, user, also=True))
            return tuple(events)
        case "alias":
            return (_join(about, _id(call.get("previousId")) or anonymous, user),)
        case "page" | "screen":
            facts = _object(call.get("properties"))
            named = {key: call[key] for key in ("name", "category") if call.get(key) is not None}
            return ({**about, "type": kind, "properties": {**named, **facts}},)
        case "group":
            facts = _object(call.get("traits"))
            group = {"group_id": _id(call.get("groupId")), **facts}
            return ({**about, "type": kind, "properties": group},)
        case _:
            raise Refusal("unknown-call")


def type_named(name: str, known: Collection[str]) -> str:
    """The event type of a call's ``event``: as it is, or ``Order Completed`` as order_completed."""
    if name in known:
        return name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).strip("_").lower()
    return words if words in known else name


def _join(about: Mapping[str, Any], source: Any, target: Any, *, also: bool = False) -> Any:
    # The join that goes with an identify is an event of its own, so it needs an id of its own.
    identity = about["event_id"]
    if also and isinstance(identity, str):
        identity = f"{identity[:250]}:join"
    return {"event_id": identity, "type": "alias", "from": source, "to": target, "ts": about["ts"]}


def _when(call: Mapping[str, Any], sent: Any, received: Instant) -> Any:
    """When it happened by our clock: the sender's clock is off by what it says it sent at."""
    stated = call.get("originalTimestamp") or call.get("timestamp")
    if stated is None:
        return received
    try:
        happened, left = instant(stated), instant(sent) if sent is not None else received
    except Refusal:
        return stated  # whoever judges it says what is wrong with it
    if abs(received - left) <= TRUSTED_CLOCK:
        return stated
    return format_instant(min(max(0, happened + received - left), LAST_INSTANT))


def _id(value: Any) -> Any:
    """Some libraries send the numbers that databases give out."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return f"{value:f}"  # longer than a double would hold
    return value or None


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal("wrong-type")
    return value
