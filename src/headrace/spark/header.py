"""The batch header: what a batch decided, kept in the commit that made it true.

A replay takes ``now``, the plan and the offsets from here, never from the clock or Postgres.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from headrace.spark.offsets import TopicOffsets

GENERATION = 1 << 40


@dataclass(frozen=True, slots=True)
class Handover:
    """A plan that takes over in this batch: from which one, staged since which batch."""

    replaces: str | None
    staged_before: int | None = None


@dataclass(frozen=True, slots=True)
class Preparation:
    """A plan the stream prepares for: its slots are folded from batch ``since`` on.

    ``until`` is the now of the batch before: facts ahead of it were waiting when folding began.
    """

    plan: str
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Correction:
    """Users whose facts are told anew in this batch: those of one part of a table."""

    table: str
    part: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Header:
    """One batch: its number, its instant, its plan and the Kafka offsets it ends at.

    Topics of streams that are not read at the time are read on from ``parked`` one day. Joins and
    deletions of the batches after ``linked_before``, up to ``linked``, are carried out
    in this one.
    """

    n: int
    now: int
    plan: str
    starts: TopicOffsets = field(default_factory=dict)
    ends: TopicOffsets = field(default_factory=dict)
    handover: Handover | None = None
    preparing: Preparation | None = None
    linked_before: int = -1
    linked: int = -1
    correcting: Correction | None = None
    parked: TopicOffsets = field(default_factory=dict)

    @property
    def generation(self) -> int:
        """Which life of the checkpoint this batch belongs to."""
        return self.n // GENERATION

    @property
    def batch_id(self) -> int:
        """Spark's id of the batch within its generation."""
        return self.n % GENERATION

    def to_json(self) -> str:
        """Compact text for a commit's user metadata."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Header:
        """Read what ``to_json`` wrote."""
        fields = json.loads(text)
        handover, preparing = fields.pop("handover"), fields.pop("preparing")
        correcting = fields.pop("correcting", None)  # headers of earlier releases have none
        return Header(
            **{
                **fields,
                "starts": _offsets(fields["starts"]),
                "ends": _offsets(fields["ends"]),
                "parked": _offsets(fields.get("parked", {})),
            },
            handover=Handover(**handover) if handover else None,
            preparing=Preparation(**preparing) if preparing else None,
            correcting=Correction(**correcting) if correcting else None,
        )


def _offsets(fields: Mapping[str, Mapping[str, int]]) -> TopicOffsets:
    return {
        topic: {int(number): end for number, end in partitions.items()}
        for topic, partitions in fields.items()
    }
