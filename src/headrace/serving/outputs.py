"""The terms of exports from Postgres, asked for each of them.

From a copy, a segment that has been held since would leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from headrace.rules.catalog import Catalog
from headrace.serving.ports import Terms
from headrace.store import Hold


class StoredOutputs:
    """Asks the store, in a thread."""

    def __init__(
        self, catalog: Callable[[], Catalog | None], holds: Callable[[], Sequence[Hold]]
    ) -> None:
        self._catalog = catalog
        self._holds = holds

    async def terms(self) -> Terms:
        """As they are now. OperatorError while Postgres does not answer."""
        catalog = await asyncio.to_thread(self._catalog)
        holds = await asyncio.to_thread(self._holds)
        return Terms(
            catalog.traits if catalog else {}, {hold.segment_id: hold.reason for hold in holds}
        )
