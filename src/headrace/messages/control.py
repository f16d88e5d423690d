"""control.v1: notices to the streaming job. Postgres stays the truth; they only save waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from headrace.messages.codec import BadMessage, decode_object, encode, need

RESERVED = frozenset({"list", "forget"})


@dataclass(frozen=True, slots=True)
class NewPlan:
    """The plan with this content hash is now the target."""

    hash: str


@dataclass(frozen=True, slots=True)
class Reserved:
    """A kind whose meaning a later release gives; readers pass over it."""

    kind: str


Control: TypeAlias = NewPlan | Reserved


def encode_control(message: NewPlan) -> bytes:
    """The notice as JSON."""
    return encode({"kind": "plan", "hash": message.hash})


def decode_control(raw: bytes | str | None) -> Control:
    """The notice in ``raw``; `BadMessage` when it is none."""
    value = decode_object(raw)
    kind = need(value, "kind", str)
    if kind == "plan":
        return NewPlan(need(value, "hash", str))
    if kind in RESERVED:
        return Reserved(kind)
    raise BadMessage("unknown-kind", kind)
