"""The history of slots that a plan adds, folded from all events of whole users."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.engine.fold import folded
from headrace.engine.group import fact_rows, facts_of, users_of
from headrace.engine.logs import Logs
from headrace.engine.program import compiled
from headrace.engine.repeats import keys_of, repeats
from headrace.engine.state import ID, STAGED, STATE_SCHEMA, binary_column, empty_state
from headrace.engine.tiles import Keys, merged, most_users
from headrace.plan.model import Plan


def stage(events: pa.Table, *, plan: Plan, slots: frozenset[int], now: int, n: int) -> pa.Table:
    """Rows of layout 0 (STATE_SCHEMA): the tiles of ``slots`` (ids), and nothing else.

    ``events`` (FACTS_SCHEMA) holds all accepted facts of each user up to batch ``n``; repeats
    within the horizon are dropped here, as the stream dropped them. Facts ahead of ``now`` (that
    batch's) still wait in their users' rows, so they are not in here.
    """
    code = compiled(plan)
    events = fact_rows(events)
    users = users_of(empty_state(), events, now=now, everyone=False)
    most = most_users(code)
    if len(users) > most:
        parts = [
            stage(
                events.filter(pa.array(users.owner_of_event // most == part)),
                plan=plan, slots=slots, now=now, n=n,
            )
            for part in range(-(-len(users) // most))
        ]  # fmt: skip
        return pa.concat_tables(parts).combine_chunks()
    keys, has_id = keys_of(events)
    nothing = np.empty(0, ID)
    repeated = repeats(events, keys, has_id, nothing, plan.job.horizon_ms)
    facts = facts_of(events, users.owner_of_event, code.type_number)
    facts = facts.take(~repeated & (facts.ts <= now))
    places = [place for place, slot in enumerate(plan.slots) if slot.id in slots]
    form = Keys(code, len(users))
    stored = np.empty(0, np.uint64), np.empty(0, np.int64)
    found = folded(form, facts, now, places)
    records, counts = merged(form, stored, (found.keys, found.values)).records(now)
    texts = np.array(Logs.of(code, {}, [found.log]).texts(len(users), now), object)
    some = np.flatnonzero((counts > 0) | (texts != None))  # noqa: E711  each element
    size = len(some)
    columns = {
        "user_id": users.names.take(pa.array(some)),
        "n": pa.array(np.full(size, n), pa.int64()),
        "at": pa.array(np.full(size, now), pa.int64()),
        "layout": pa.array(np.full(size, STAGED), pa.int32()),
        "tiles": binary_column(records, counts[some]),
        "logs": pa.array(texts[some], pa.string()),
    }
    return pa.table(
        [columns.get(field.name, pa.nulls(size, field.type)) for field in STATE_SCHEMA],
        schema=STATE_SCHEMA,
    )
