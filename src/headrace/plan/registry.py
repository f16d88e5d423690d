"""Small integers for content hashes: what state rows name slots and versions by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Registry(Protocol):
    """Gives each hash of a kind one integer, once and for ever, counting from 0."""

    def ids(self, kind: str, hashes: Sequence[str]) -> list[int]:
        """The integers of ``hashes``, in their order; unseen ones are given the next free ones."""
        ...


class MemoryRegistry:
    """A registry that lives as long as the process: tests and evaluation of files."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, int]] = {}

    def ids(self, kind: str, hashes: Sequence[str]) -> list[int]:
        known = self._known.setdefault(kind, {})
        return [known.setdefault(text, len(known)) for text in hashes]
