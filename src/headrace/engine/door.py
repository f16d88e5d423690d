"""The door: bytes as they came -> accepted facts and rejected rows, each with its reason."""

from __future__ import annotations

import pyarrow as pa

from headrace.rules.catalog import Catalog


def admit(
    raw: pa.Table, *, catalog: Catalog, now: int | None, retention_ms: int | None
) -> pa.Table:
    """Judge each row of ``raw`` (value, topic, partition, offset) by itself; see EVENTS_SCHEMA.

    Without ``now`` (files) nothing is too far ahead or too old, but for instants before 1970.
    """
    raise NotImplementedError
