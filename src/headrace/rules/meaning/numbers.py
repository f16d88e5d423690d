"""Sets of numbers on one line, and of having none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

FAR: Final = 10**100
"""Beyond every constant: a range that ends here has no end."""

Range: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Whole numbers in ranges (both ends included, apart, ascending), and perhaps no number."""

    ranges: tuple[Range, ...]
    missing: bool = False

    @property
    def is_empty(self) -> bool:
        """Is there no such value, not even none?"""
        return not self.ranges and not self.missing

    @property
    def low(self) -> int:
        """The least number; FAR when there is none."""
        return self.ranges[0][0] if self.ranges else FAR

    @property
    def high(self) -> int:
        """The greatest number; -FAR when there is none."""
        return self.ranges[-1][1] if self.ranges else -FAR

    def meet(self, other: Numbers) -> Numbers:
        """The values in both."""
        if len(self.ranges) == 1 == len(other.ranges):  # nearly always
            (low, high), (other_low, other_high) = self.ranges[0], other.ranges[0]
            low, high = max(low, other_low), min(high, other_high)
            return Numbers(((low, high),) if low <= high else (), self.missing and other.missing)
        found: list[Range] = []
        mine, others = 0, 0
        while mine < len(self.ranges) and others < len(other.ranges):
            low, high = self.ranges[mine]
            other_low, other_high = other.ranges[others]
            if max(low, other_low) <= min(high, other_high):
                found.append((max(low, other_low), min(high, other_high)))
            if high <= other_high:
                mine += 1
            else:
                others += 1
        return Numbers(tuple(found), self.missing and other.missing)

    def is_apart(self, other: Numbers) -> bool:
        """Is no value in both?"""
        if self.missing and other.missing:
            return False
        if len(self.ranges) == 1 == len(other.ranges):
            (low, high), (other_low, other_high) = self.ranges[0], other.ranges[0]
            return low > other_high or other_low > high
        return self.meet(other).is_empty

    def join(self, other: Numbers) -> Numbers:
        """The values in either."""
        return numbers((*self.ranges, *other.ranges), missing=self.missing or other.missing)

    def minus(self, other: Numbers) -> Numbers:
        """The values that are not in ``other``."""
        ends = [-FAR - 1, *(end for range_ in other.ranges for end in range_), FAR + 1]
        gaps = [(low + 1, high - 1) for low, high in zip(ends[::2], ends[1::2], strict=True)]
        outside = numbers(gaps, missing=not other.missing)
        return self.meet(outside)

    def at_least(self, least: int) -> Numbers:
        """The numbers from ``least`` on; having none stays possible."""
        return self.meet(Numbers(((least, FAR),), True)) if least <= FAR else self._none()

    def at_most(self, most: int) -> Numbers:
        """The numbers up to ``most``; having none stays possible."""
        return self.meet(Numbers(((-FAR, most),), True)) if most >= -FAR else self._none()

    def _none(self) -> Numbers:
        return Numbers((), self.missing)


def numbers(ranges: Iterable[Range], *, missing: bool = False) -> Numbers:
    """The union of ``ranges``, which may be empty, meet or come in any order."""
    found: list[Range] = []
    for low, high in sorted(range_ for range_ in ranges if range_[0] <= range_[1]):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return Numbers(tuple(found), missing)


MISSING: Final = Numbers((), True)
ZERO: Final = Numbers(((0, 0),))
PRESENT: Final = Numbers(((-FAR, FAR),))
ANY: Final = Numbers(((-FAR, FAR),), True)
