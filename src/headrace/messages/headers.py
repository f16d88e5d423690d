"""Kafka headers: CloudEvents 1.0 in binary mode, and the reason on a dead letter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from headrace.messages.codec import BadMessage

Headers: TypeAlias = tuple[tuple[str, bytes], ...]

SOURCE = "headrace"
TYPE_MEMBERSHIPS = "headrace.memberships"
TYPE_MARKER = "headrace.marker"
TYPE_SEGMENTS = "headrace.segments"
TYPE_CONTROL = "headrace.control"
TYPE_DEAD = "headrace.dead"
TYPE_EVENT = "headrace.event"


def cloud_event(kind: str, identity: str, content_type: str = "application/json") -> Headers:
    """The headers that make a message a CloudEvent."""
    return (("ce_id", identity.encode()), *_common(kind, content_type))


@cache
def _common(kind: str, content_type: str) -> Headers:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", SOURCE.encode()),
        ("ce_type", kind.encode()),
        ("content-type", content_type.encode()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message nobody could use: its bytes, why, and where it lay."""

    raw: bytes
    reason: str
    topic: str
    partition: int
    offset: int

    @property
    def place(self) -> str:
        """Where it lay, as people and programs name it."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def headers(self) -> Headers:
        """What the dead-letter topic carries beside the raw bytes."""
        return (
            *cloud_event(TYPE_DEAD, self.place, "application/octet-stream"),
            ("reason", self.reason.encode()),
            ("topic", self.topic.encode()),
            ("partition", str(self.partition).encode()),
            ("offset", str(self.offset).encode()),
        )


def decode_dead_letter(
    raw: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> DeadLetter:
    """The dead letter of a message on the dead-letter topic."""
    known = dict(headers)
    try:
        return DeadLetter(
            raw=raw or b"",
            reason=(known["reason"] or b"").decode(),
            topic=(known["topic"] or b"").decode(),
            partition=int(known["partition"] or b""),
            offset=int(known["offset"] or b""),
        )
    except (KeyError, ValueError) as error:
        raise BadMessage("bad-headers", str(error)) from error
