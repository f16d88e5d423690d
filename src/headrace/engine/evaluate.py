"""Rules on a file: the same door, identity and kernel as the stream, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from headrace.rules.catalog import Catalog
from headrace.rules.model import Segment


def evaluate(
    lines: Iterable[bytes],
    rules: Sequence[Segment],
    catalog: Catalog,
    at: int,
    *,
    on_bad_line: Callable[[int, str], None] | None = None,
) -> list[tuple[str, str]]:
    """Sorted (segment, user) memberships at ``at``; lines later than that do not exist.

    ``on_bad_line`` hears of each skipped line: its number, from 1, and the reason code.
    """
    raise NotImplementedError
