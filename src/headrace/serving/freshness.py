"""Which answers are stale: those that nothing has been added to for too long."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.clock import Clock, Instant


@dataclass(frozen=True, slots=True)
class Freshness:
    """Holds the ``as_of`` of answers against a target in ms.

    The stream beats after every batch, also when nobody sends events, so an old ``as_of`` means
    that the stream, Kafka or the loader stands still, or cannot keep up.
    """

    clock: Clock
    target: int

    def is_stale(self, as_of: Instant) -> bool:
        """Is an answer of ``as_of`` older than it may be?

        One as far ahead cannot be judged: a clock has been set, and hides how old it is.
        """
        return abs(self.clock() - as_of) > self.target
