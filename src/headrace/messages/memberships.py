"""memberships.v1: who entered and left what, one message per user and batch, and its markers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from headrace.clock import Instant
from headrace.messages.codec import BadMessage, decode_object, encode, identifier, need

# Redis compares n in Lua, whose numbers are doubles.
GREATEST_N = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One transition: the user entered or left ``segment`` at ``effective_at``.

    A measure that is missing (the average of nothing) has the value None. Of a segment that
    ``ends`` everybody leaves in this batch; readers see that at its marker, all at once.
    """

    id: str
    segment: str
    version: int
    entered: bool
    reason: str
    at: Instant
    effective_at: Instant
    measures: Mapping[str, str | None] = field(default_factory=dict)
    ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChanges:
    """Everything batch ``n`` changed for one user.

    ``traits`` is the JSON object of all current traits, as text, when they changed. ``deleted``
    and ``merged_into`` take the user out of the population; a deletion's message may carry both
    exits and nothing else.
    """

    user: str
    n: int
    at: Instant
    first_seen: bool = False
    changes: tuple[Change, ...] = ()
    traits: str | None = None
    deleted: bool = False
    merged_into: str | None = None


@dataclass(frozen=True, slots=True)
class Activated:
    """A version that readers see from a marker on, and the one it replaces."""

    segment: str
    version: int
    replaces: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """Stands behind all of batch ``n`` in a partition: the new versions are complete there."""

    n: int
    segments: tuple[Activated, ...] = ()
    retired: tuple[str, ...] = ()
    at: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The stream had published everything up to batch ``n``, whose now was ``at``."""

    n: int
    at: Instant


MembershipMessage: TypeAlias = UserChanges | Activation | Heartbeat
CHANGE: Mapping[str, bool] = {"enter": True, "exit": False}


def decode_membership(raw: bytes | str | None) -> MembershipMessage:
    """The message in ``raw``; `BadMessage` when it is none."""
    value = decode_object(raw)
    if "marker" in value:
        return _marker(value)
    changes = value.get("changes", [])
    if type(changes) is not list:
        raise BadMessage("wrong-type", "changes: not an array")
    traits = value.get("traits")
    if traits is not None and type(traits) is not dict:
        raise BadMessage("wrong-type", "traits: not an object")
    return UserChanges(
        user=identifier(value, "user"),
        n=_batch(value),
        at=need(value, "at", int),
        first_seen=value.get("first_seen") is True,
        changes=tuple(map(_change, changes)),
        traits=None if traits is None else orjson.dumps(traits).decode(),
        deleted=value.get("deleted") is True,
        merged_into=None if value.get("merged_into") is None else identifier(value, "merged_into"),
    )


def _batch(value: Mapping[str, Any]) -> int:
    n = need(value, "n", int)
    if not 0 <= n <= GREATEST_N:
        raise BadMessage("out-of-range", "n")
    return n


def _change(value: object) -> Change:
    if not isinstance(value, dict):
        raise BadMessage("wrong-type", "changes: not objects")
    entered = CHANGE.get(str(value.get("change")))
    if entered is None:
        raise BadMessage("unknown-change", repr(value.get("change")))
    at = need(value, "at", int)
    measures = value.get("measures") or {}
    if not isinstance(measures, dict):
        raise BadMessage("wrong-type", "measures: not an object")
    return Change(
        id=need(value, "id", str),
        segment=need(value, "segment", str),
        version=need(value, "version", int),
        entered=entered,
        reason=need(value, "reason", str),
        at=at,
        effective_at=value["effective_at"] if type(value.get("effective_at")) is int else at,
        measures=measures,
        ends=value.get("ends") is True,
    )


def _marker(value: Mapping[str, Any]) -> Activation | Heartbeat:
    kind: Literal["activate", "heartbeat"] | Any = value["marker"]
    if kind == "heartbeat":
        return Heartbeat(n=_batch(value), at=need(value, "at", int))
    if kind != "activate":
        raise BadMessage("unknown-marker", repr(kind))
    try:
        segments = tuple(
            Activated(part["segment"], int(part["version"]), part.get("replaces"))
            for part in value.get("segments", ())
        )
        retired = tuple(str(name) for name in value.get("retired", ()))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadMessage("wrong-type", f"segments: {error}") from error
    return Activation(n=_batch(value), segments=segments, retired=retired, at=value.get("at"))


def encode_membership(message: MembershipMessage) -> bytes:
    """The message as JSON; `decode_membership` of it is the message again."""
    match message:
        case Heartbeat(n=n, at=at):
            return encode({"marker": "heartbeat", "n": n, "at": at})
        case Activation():
            return encode(_marker_value(message))
        case UserChanges():
            return encode(_changes_value(message))


def _marker_value(marker: Activation) -> dict[str, Any]:
    value: dict[str, Any] = {
        "marker": "activate",
        "n": marker.n,
        "segments": [
            {"segment": part.segment, "version": part.version, "replaces": part.replaces}
            for part in marker.segments
        ],
        "retired": list(marker.retired),
    }
    return value if marker.at is None else value | {"at": marker.at}


def _changes_value(message: UserChanges) -> dict[str, Any]:
    value: dict[str, Any] = {
        "user": message.user,
        "n": message.n,
        "at": message.at,
        "first_seen": message.first_seen,
        "changes": [
            {
                "id": change.id,
                "segment": change.segment,
                "version": change.version,
                "change": "enter" if change.entered else "exit",
                "reason": change.reason,
                "at": change.at,
                "effective_at": change.effective_at,
                "measures": dict(change.measures),
                **({"ends": True} if change.ends else {}),
            }
            for change in message.changes
        ],
    }
    if message.traits is not None:
        value["traits"] = orjson.Fragment(message.traits)
    if message.deleted:
        value["deleted"] = True
    if message.merged_into is not None:
        value["merged_into"] = message.merged_into
    return value


def activation_marker(
    n: int, at: Instant, *, old: Mapping[str, int], new: Mapping[str, int]
) -> str:
    """The marker of the batch that moves from the versions ``old`` (by segment) to ``new``."""
    marker = Activation(
        n=n,
        at=at,
        segments=tuple(
            Activated(segment, version, old.get(segment))
            for segment, version in sorted(new.items())
            if old.get(segment) != version
        ),
        retired=tuple(sorted(old.keys() - new.keys())),
    )
    return encode_membership(marker).decode()


def heartbeat_marker(n: int, at: Instant) -> str:
    """Tells the loader, in each partition, that nothing up to batch ``n`` is still to come."""
    return encode_membership(Heartbeat(n=n, at=at)).decode()
