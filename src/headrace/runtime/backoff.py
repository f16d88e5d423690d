"""How long to wait before the next try, given how the last ones went."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Doubling waits. After a run of ``healthy_after`` seconds there is none."""

    first: float = 1.0
    most: float = 60.0
    healthy_after: float = 60.0
    quick_limit: int = 5
    failures: int = 0

    def after(self, ran: float) -> Backoff:
        """The state after a run of ``ran`` seconds has failed."""
        return replace(self, failures=0 if ran >= self.healthy_after else self.failures + 1)

    @property
    def wait(self) -> float:
        """Seconds until the next try."""
        if self.failures == 0:
            return 0.0
        if self.is_failing:
            return self.most
        return min(self.first * 2.0 ** (self.failures - 1), self.most)

    @property
    def is_failing(self) -> bool:
        """So many quick failures in a row that somebody should look."""
        return self.failures >= self.quick_limit
