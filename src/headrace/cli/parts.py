"""A part of a deployment, and the words for how it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headrace.clock import SECOND, Instant
from headrace.embedded.logs import last_error
from headrace.embedded.services import ServiceStatus

# "off": it was never started here, and nothing speaks of it. "idle": it has nothing to do.
State = Literal[
    "healthy", "starting", "building", "running", "idle", "off", "stale", "failing", "down",
    "unknown",
]  # fmt: skip
WELL: tuple[State, ...] = ("healthy", "starting", "building", "running", "idle", "off")
# A process that has just been started answers within this.
STARTS_WITHIN = 30 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a deployment. What nobody could tell is None, or empty."""

    name: str
    state: State
    behind_events: int | None = None
    behind_ms: int | None = None
    stale_since: Instant | None = None
    last_error: str = ""
    detail: str = ""

    @property
    def is_well(self) -> bool:
        """Is there nothing to do about it?"""
        return self.state in WELL


def died(name: str, service: ServiceStatus) -> Part:
    """The part whose process was started here, and is gone though nobody ended it."""
    reason = last_error(service.log)
    return Part(name=name, state="down", last_error=reason, detail=f"died; log: {service.log}")


def is_young(service: ServiceStatus, now: Instant) -> bool:
    """Has it been started so lately that silence says nothing?"""
    return service.started is not None and now - service.started * SECOND < STARTS_WITHIN
