"""Who is who: joined ids and deletions, resolved over all alias and delete facts at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Identities:
    """``canonical``: joined id -> the id it goes by; ``forgotten``: id as sent -> instant up to
    and including which its facts are forgotten."""

    canonical: Mapping[str, str] = field(default_factory=dict)
    forgotten: Mapping[str, int] = field(default_factory=dict)


def resolve(links: pa.Table, *, at: int) -> Identities:
    """Identities at ``at`` from the alias and delete rows of an EVENTS table.

    Of an alias, ``user_id`` is the ``to`` id and ``properties`` hold both. The order of rows
    means nothing.
    """
    raise NotImplementedError


def apply_identities(events: pa.Table, identities: Identities) -> pa.Table:
    """Ordinary and trait facts (EVENTS_SCHEMA with ``at``) as FACTS_SCHEMA under canonical ids,
    without the forgotten ones."""
    raise NotImplementedError
