"""control.v1: notices to the streaming job. Each says where to look; none has to arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from headrace.messages.codec import BadMessage, decode_object, encode, need

RESERVED = frozenset({"list", "forget"})


@dataclass(frozen=True, slots=True)
class NewPlan:
    """The plan with this content hash is now the target."""

    kind: ClassVar[str] = "plan"

    hash: str

    @property
    def id(self) -> str:
        """What makes two notices the same."""
        return self.hash


@dataclass(frozen=True, slots=True)
class Corrections:
    """A recompute as of batch ``n`` has named users whose state is wrong."""

    kind: ClassVar[str] = "corrections"

    n: int

    @property
    def id(self) -> str:
        """What makes two notices the same."""
        return f"corrections:{self.n}"


@dataclass(frozen=True, slots=True)
class Reserved:
    """A kind whose meaning a later release gives; readers pass over it."""

    kind: str


Notice: TypeAlias = NewPlan | Corrections
Control: TypeAlias = Notice | Reserved


def encode_control(notice: Notice) -> bytes:
    """The notice as JSON."""
    match notice:
        case NewPlan(hash):
            return encode({"kind": notice.kind, "hash": hash})
        case Corrections(n):
            return encode({"kind": notice.kind, "n": n})


def decode_control(raw: bytes | str | None) -> Control:
    """The notice in ``raw``; `BadMessage` when it is none."""
    value = decode_object(raw)
    kind = need(value, "kind", str)
    if kind == NewPlan.kind:
        return NewPlan(need(value, "hash", str))
    if kind == Corrections.kind:
        return Corrections(need(value, "n", int))
    if kind in RESERVED:
        return Reserved(kind)
    raise BadMessage("unknown-kind", kind)
