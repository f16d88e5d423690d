"""Answers given under an Idempotency-Key, for those who did not hear them and ask again.

They are kept in memory, as many as fit. Beyond that, and beyond a restart, the ids that are made
from the key do the same work: what comes twice counts once.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from headrace.serving.problems import Problem
from headrace.store import Source

OVERHEAD = 700  # bytes that an answer takes beside its text


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer to a request that carried an Idempotency-Key."""

    body: str  # its digest
    answer: bytes
    status: int


class Answers:
    """The newest answers by key, as many as fit."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], Remembered] = OrderedDict()

    def find(self, source: Source, key: str, body: str) -> Remembered | None:
        """The answer given before; Problem 409 when that was to another body."""
        found = self._kept.get((source.name, key))
        if found is not None and found.body != body:
            raise Problem(409, "key-reused", "this Idempotency-Key came with another body before")
        return found

    def keep(self, source: Source, key: str, answer: Remembered) -> None:
        """Remember ``answer``, and forget the oldest for it."""
        before = self._kept.pop((source.name, key), None)
        self._kept[source.name, key] = answer
        self._bytes += _size(key, answer) - (_size(key, before) if before else 0)
        while self._bytes > self._most_bytes:
            (_, name), oldest = self._kept.popitem(last=False)
            self._bytes -= _size(name, oldest)


def _size(key: str, answer: Remembered) -> int:
    return len(key) + len(answer.answer) + OVERHEAD
