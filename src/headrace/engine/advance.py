"""One batch for one group of users: the kernel."""

from __future__ import annotations

import pyarrow as pa

from headrace.plan.diff import PlanDiff
from headrace.plan.model import Plan


def advance(
    state: pa.Table,
    events: pa.Table,
    *,
    plan: Plan,
    now: int,
    n: int,
    diff: PlanDiff | None = None,
    full: bool = False,
) -> pa.Table:
    """State rows to append (STATE_SCHEMA) after ``events`` (FACTS_SCHEMA) and the time ``now``.

    ``state`` holds all rows of each user, superseded and staged ones too. A row comes out for
    each user with an event, with ``next_due <= now`` or with staged rows, and, when ``diff`` is
    given, for each whose memberships or next due instant change. ``full`` evaluates every rule
    instead of those whose inputs changed; the result is the same.
    """
    raise NotImplementedError
