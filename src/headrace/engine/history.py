"""The history of slots that a plan adds, folded from all events of whole users."""

from __future__ import annotations

import pyarrow as pa

from headrace.plan.model import Plan


def stage(events: pa.Table, *, plan: Plan, slots: frozenset[int], now: int, n: int) -> pa.Table:
    """Rows of layout 0 (STATE_SCHEMA): the tiles of ``slots`` (ids), and nothing else.

    ``events`` (FACTS_SCHEMA) holds all accepted facts of each user up to batch ``n``; repeats
    within the horizon are dropped here, as the stream dropped them.
    """
    raise NotImplementedError
