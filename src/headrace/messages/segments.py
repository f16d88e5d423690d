"""segments.v1: the latest membership per user and segment, in a compacted topic."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.clock import Instant
from headrace.messages.codec import decode_object, encode, identifier, need


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentMember:
    """Is ``user`` in ``segment``, by which version, and since when?"""

    segment: str
    user: str
    version: int
    member: bool
    since: Instant
    n: int

    @property
    def key(self) -> str:
        """The message's key: compaction keeps the last per key."""
        return segment_key(self.segment, self.user)


def segment_key(segment: str, user: str) -> str:
    """The key of everything about ``user`` and ``segment``."""
    return f"{segment}/{user}"


def encode_segment(message: SegmentMember) -> bytes:
    """The message as JSON."""
    return encode(
        {
            "segment": message.segment,
            "user": message.user,
            "version": message.version,
            "member": message.member,
            "since": message.since,
            "n": message.n,
        }
    )


def decode_segment(raw: bytes | str | None) -> SegmentMember:
    """The message in ``raw``; `BadMessage` when it is none."""
    value = decode_object(raw)
    return SegmentMember(
        segment=need(value, "segment", str),
        user=identifier(value, "user"),
        version=need(value, "version", int),
        member=need(value, "member", bool),
        since=need(value, "since", int),
        n=need(value, "n", int),
    )
