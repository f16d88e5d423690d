"""Rejected messages from the tables, beside what Postgres knows of those sent again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial

from headrace.clock import SECOND, Clock, system_clock
from headrace.lake.letters import Reason, Rejected, Spot, reasons, rejected
from headrace.lake.tables import Tables
from headrace.serving.reading import Readers


class StoredLetters:
    """Reads the tables, and asks Postgres."""

    def __init__(
        self,
        tables: Tables,
        readers: Readers,
        replayed: Callable[[Sequence[str]], set[str]],
        clock: Clock = system_clock,
    ) -> None:
        """``replayed`` tells which places' messages have been sent again."""
        self._tables = tables
        self._readers = readers
        self._replayed = replayed
        self._clock = clock

    async def reasons(self, days: int) -> list[Reason]:
        """Why messages were rejected lately. LakeDown while the tables cannot be read."""
        return await self._readers(partial(reasons, self._tables, self._since(days)))

    async def rejected(
        self, days: int, chosen: Sequence[str], before: Spot | None, limit: int
    ) -> list[tuple[Rejected, bool]]:
        """Messages rejected lately, and whether each was sent again since."""

        def ask() -> list[tuple[Rejected, bool]]:
            found = rejected(
                self._tables,
                self._since(days),
                reasons=tuple(chosen),
                before=before,
                limit=limit,
            )
            again = self._replayed([one.place for one in found]) if found else set()
            return [(one, one.place in again) for one in found]

        return await self._readers(ask)

    def _since(self, days: int) -> date:
        today = datetime.fromtimestamp(self._clock() / SECOND, UTC).date()
        return today - timedelta(days=days - 1)
