"""Rules on a file: the same door, identity and kernel as the stream, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.advance import advance
from headrace.engine.door import admit
from headrace.engine.group import fact_rows, state_rows, users_of
from headrace.engine.identity import FORGOTTEN, apply_identities, links_of, resolve
from headrace.engine.paths import walked
from headrace.engine.repeats import keys_of, repeats
from headrace.engine.state import EVENTS_SCHEMA, ID, empty_state, members_of
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.catalog import Catalog
from headrace.rules.model import Segment

GROUP = 20_000
"""Users the kernel takes at once: its arrays then stay in the processor's caches."""

LINES = 200_000
"""Lines the door judges at once: enough to amortise, little to hold."""


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
    events = _read(lines, catalog, on_bad_line)
    events = without_repeats(events.filter(pc.less_equal(events["ts"], at)))
    facts = apply_identities(
        events.append_column("at", pa.array(np.full(len(events), at), pa.int64())),
        resolve(links_of(events), at=at),
    )
    facts = facts.filter(pc.not_equal(facts["type"], FORGOTTEN))
    versions = [SegmentVersion(rule, 1) for rule in rules]
    plan = build_plan(versions, catalog, MemoryRegistry(), JobParameters())
    names = {program.version_id: program.segment for program in plan.programs}
    found: list[tuple[str, str]] = []
    for group in _groups(facts):
        state = state_at(group, plan=plan, at=at)
        members = members_of(state, plan)
        segments = [names[version_id] for version_id in members["version_id"].to_pylist()]
        found += zip(segments, members["user_id"].to_pylist(), strict=True)
    return sorted(found)


def state_at(facts: pa.Table, *, plan: Plan, at: int) -> pa.Table:
    """The states (STATE_SCHEMA) of the users of ``facts`` (FACTS_SCHEMA), told from them alone.

    All facts up to ``at``, of whole users, none of them twice.
    """
    stood = walked(facts, plan=plan, at=at) if plan.stays else empty_state()
    return advance(stood, facts, plan=plan, now=at, n=0, full=True, silent=True)


def looked_at(state: pa.Table, *, plan: Plan, at: int) -> pa.Table:
    """Everybody of ``state`` (all rows of whole users), in the segments of ``plan`` at ``at``."""
    rows = state_rows(state)
    users = users_of(rows, rows.slice(0, 0), now=at, everyone=True)
    rows = rows.take(pa.array(users.row[users.known]))
    place = rows.schema.get_field_index("next_due")
    due = rows.set_column(place, "next_due", pa.repeat(pa.scalar(at, pa.int64()), len(rows)))
    return advance(due, rows.slice(0, 0), plan=plan, now=at, n=0, full=True, silent=True)


def counting(facts: pa.Table, *, at: int, horizon_ms: int) -> pa.Table:
    """Of stored ``facts`` (FACTS_SCHEMA) of whole users those that count at ``at``, for `state_at`.

    The first of each id counts, for ``horizon_ms`` after its arrival, forgotten ones too; then
    what is forgotten goes, and what is later than ``at``. Without a sender none repeats another.
    """
    facts = fact_rows(facts)
    keys, has_id = keys_of(facts)
    again = repeats(facts, keys, has_id, np.empty(0, ID), horizon_ms)
    counts = pc.and_(pc.not_equal(facts["type"], FORGOTTEN), pc.less_equal(facts["ts"], at))
    facts = facts.filter(pc.and_(counts, pa.array(~again)))
    place = facts.schema.get_field_index("sent_id")
    return facts.set_column(place, "sent_id", pa.nulls(len(facts), pa.string()))


def _read(
    lines: Iterable[bytes], catalog: Catalog, on_bad_line: Callable[[int, str], None] | None
) -> pa.Table:
    """The accepted lines as an EVENTS table."""
    tables = [EVENTS_SCHEMA.empty_table()]
    first = 1
    for batch in _batches(lines):
        rows = admit(_raw(batch, first), catalog=catalog, now=None, retention_ms=None)
        accepted = pc.equal(rows["verdict"], "accepted")
        if on_bad_line is not None:
            bad = rows.filter(pc.invert(accepted))
            for number, reason in zip(
                bad["offset"].to_pylist(), bad["reason"].to_pylist(), strict=True
            ):
                on_bad_line(number, reason)
        tables.append(rows.filter(accepted))
        first += len(batch)
    return pa.concat_tables(tables)


def _batches(lines: Iterable[bytes]) -> Iterable[list[bytes]]:
    batch: list[bytes] = []
    for line in lines:
        batch.append(line)
        if len(batch) == LINES:
            yield batch
            batch = []
    if batch:
        yield batch


def _raw(lines: list[bytes], first: int) -> pa.Table:
    size = len(lines)
    return pa.table(
        {
            "value": pa.array(lines, pa.binary()),
            "topic": pa.nulls(size, pa.string()),
            "partition": pa.array(np.zeros(size), pa.int32()),
            "offset": pa.array(np.arange(first, first + size), pa.int64()),
        }
    )


def without_repeats(events: pa.Table) -> pa.Table:
    """Of facts with one (user id as sent, event id) the smallest by (ts, canonical JSON, type).

    In a file no line comes before another, and there is no horizon. Joins are never repeats.
    """
    keyed = pc.and_(pc.is_valid(events["event_id"]), pc.not_equal(events["type"], "alias"))
    rows = np.flatnonzero(keyed.to_numpy(zero_copy_only=False))
    if not len(rows):
        return events
    keys = events.take(pa.array(rows))
    order = [keys[name].to_pylist() for name in ("ts", "properties", "type")]
    first: dict[tuple[str, str], int] = {}
    dropped: list[int] = []
    pairs = zip(keys["user_id"].to_pylist(), keys["event_id"].to_pylist(), strict=True)
    for place, pair in enumerate(pairs):
        other = first.setdefault(pair, place)
        if other == place:
            continue
        if [column[place] for column in order] < [column[other] for column in order]:
            first[pair] = place
            dropped.append(other)
        else:
            dropped.append(place)
    if not dropped:
        return events
    kept = np.ones(len(events), np.bool_)
    kept[rows[dropped]] = False
    return events.filter(pa.array(kept))


def _groups(facts: pa.Table) -> Iterable[pa.Table]:
    """Tables of whole users, about GROUP of them each."""
    if not len(facts):
        return
    codes = facts["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    cuts = np.searchsorted(codes[order], np.arange(GROUP, int(codes.max()) + 1, GROUP))
    for rows in np.split(order, cuts):
        yield facts.take(pa.array(rows))
