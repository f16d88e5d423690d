"""One batch for one group, identities included: states that join others, begin anew, or end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from headrace.engine.advance import advance
from headrace.engine.families import ANEW, MOVES_SCHEMA
from headrace.engine.group import ints, normalised
from headrace.engine.identity import FORGOTTEN
from headrace.engine.repeats import keys_of, repeats
from headrace.engine.standing import Begun
from headrace.engine.state import (
    CURRENT,
    GONE,
    ID,
    INPUT_SCHEMA,
    JOINED,
    STAGED,
    STATE_SCHEMA,
    Bools,
    packed,
    unpack_members,
)
from headrace.messages.memberships import Change, UserChanges, encode_membership
from headrace.plan.diff import PlanDiff
from headrace.plan.model import Plan

MOVED_SCHEMA = pa.unify_schemas([STATE_SCHEMA, MOVES_SCHEMA])
"""State rows as `families.regroup` sends them: ``user_id`` is whom the row goes to."""

IDS_ONLY = ("traits", "tiles", "logs", "stays", "members", "pending", "next_due", "first_seen")
"""What a row that lends only its event ids keeps silent about."""
FACTS_SAY = ("traits", "tiles", "logs", "pending", "next_due")
"""What facts told anew say again: in his segments the user still was."""
BEGUN_ANEW = (*FACTS_SAY, "stays", "first_seen")
"""What goes too when some of his facts are forgotten."""


def step(
    state: pa.Table,
    events: pa.Table,
    *,
    plan: Plan,
    now: int,
    n: int,
    diff: PlanDiff | None = None,
    begun: Begun | None = None,
) -> pa.Table:
    """State rows to append (STATE_SCHEMA) after batch ``n``; see `advance`.

    ``state`` may have the columns of MOVED_SCHEMA: what identities that change bring along.
    Of ``events`` those of type FORGOTTEN only take their ids; facts told anew have none, they
    were counted before.
    """
    forgotten = pc.equal(events["type"], FORGOTTEN)
    if "role" not in state.column_names and not pc.any(forgotten).as_py():
        return advance(state, events, plan=plan, now=now, n=n, diff=diff, begun=begun)
    rows = normalised(state, MOVED_SCHEMA)
    role = rows["role"].fill_null("").to_numpy()
    ends = np.isin(role, ANEW)
    stands = np.isin(ints(rows["layout"], GONE), (CURRENT, STAGED)) & _newest(rows)
    standing = rows["user_id"].filter(pa.array(stands & ~ends & (role != "lends")))
    told = events["user_id"].filter(pc.invert(forgotten))
    alive = pc.unique(pa.chunked_array([*standing.chunks, *told.chunks], pa.string()))
    lives = pc.is_in(rows["user_id"], value_set=alive)
    has_life = pc.is_in(events["user_id"], value_set=alive)
    gone = departed(
        rows.filter(pc.and_(pc.invert(lives), pa.array(ends))),
        _ghosts(rows, events.filter(pc.invert(has_life)), now, plan.job.horizon_ms),
        plan=plan,
        now=now,
        n=n,
    )
    rows, events = rows.filter(lives), events.filter(has_life)
    changed = pc.unique(rows["user_id"].filter(pc.is_valid(rows["role"])))
    moves, happens = (pc.is_in(of["user_id"], value_set=changed) for of in (rows, events))
    moved = _arranged(rows.filter(moves))
    return pa.concat_tables(
        [
            gone,
            advance(moved, events.filter(happens), plan=plan, now=now, n=n, full=True),
            advance(
                rows.filter(pc.invert(moves)).select(STATE_SCHEMA.names),
                events.filter(pc.invert(happens)),
                plan=plan,
                now=now,
                n=n,
                diff=diff,
                begun=begun,
            ),
        ]
    )


def _arranged(rows: pa.Table) -> pa.Table:
    """The rows as the kernel reads them (INPUT_SCHEMA)."""
    newest = _newest(rows)
    stands = newest & (ints(rows["layout"], GONE) == CURRENT)
    joins, lends, stays, again = (
        pc.equal(rows["role"], role).fill_null(False).to_numpy()
        for role in ("joins", "lends", "stays", "again")
    )
    own = ~(joins | lends | stays | again)
    silent = lends | (joins & ~stands)
    columns: dict[str, Any] = {name: rows[name] for name in INPUT_SCHEMA.names}
    for name in IDS_ONLY:
        columns[name] = pc.if_else(pa.array(silent), None, columns[name])
    for names, those in ((BEGUN_ANEW, stays), (FACTS_SAY, again)):
        for name in names:
            columns[name] = pc.if_else(pa.array(those), None, columns[name])
    layout = np.where(own | ((stays | again) & stands), ints(rows["layout"], GONE), JOINED)
    columns["layout"] = pa.array(layout, pa.int32())
    return pa.table(columns).select(INPUT_SCHEMA.names).cast(INPUT_SCHEMA)


def _newest(rows: pa.Table) -> Bools:
    """One bit per row: is it the newest of its origin for its user?"""
    size = len(rows)
    places = rows.select(["user_id", "origin", "role", "n"]).append_column(
        "place", pa.array(np.arange(size))
    )
    last = places.sort_by([("n", "ascending"), ("place", "ascending")]).group_by(
        ["user_id", "origin", "role"], use_threads=False
    ).aggregate([("place", "last")])  # fmt: skip
    newest = np.zeros(size, np.bool_)
    newest[last["place_last"].to_numpy()] = True
    return newest


def departed(
    rows: pa.Table, ghosts: Mapping[str, Ghost], *, plan: Plan, now: int, n: int
) -> pa.Table:
    """A row of layout GONE for each user of ``rows`` (MOVED_SCHEMA), out of all segments, and
    for each of ``ghosts``."""
    of = {p.version_id: p for p in plan.programs}
    own = rows.filter(pa.array(_newest(rows)))
    texts: dict[str, str | None] = dict.fromkeys(ghosts)
    columns = (own[name].to_pylist() for name in ("user_id", "members", "cause", "into"))
    for user, members, cause, into in zip(*columns, strict=True):
        moves = tuple(
            Change(
                id=xxhash.xxh64_hexdigest(f"{p.segment}|{p.version}|{user}|{n}".encode()),
                segment=p.segment,
                version=p.version,
                entered=False,
                reason=cause,
                at=now,
                effective_at=now,
            )
            for p in (of[one] for one in unpack_members(members) if one in of)
        )
        message = UserChanges(
            user=user, n=n, at=now, changes=moves, deleted=into is None, merged_into=into
        )
        texts[user] = encode_membership(message).decode()
    size = len(texts)
    nobody = Ghost(b"", 0)
    known = {
        "user_id": pa.array(texts, pa.string()),
        "n": pa.array(np.full(size, n), pa.int64()),
        "at": pa.array(np.full(size, now), pa.int64()),
        "layout": pa.array(np.full(size, GONE), pa.int32()),
        "ids": pa.array([ghosts.get(user, nobody).ids for user in texts], pa.binary()),
        "changes": pa.array(texts.values(), pa.string()),
        "duplicates": pa.array([ghosts.get(user, nobody).duplicates for user in texts], pa.int32()),
    }
    return pa.table(
        [known.get(item.name, pa.nulls(size, item.type)) for item in STATE_SCHEMA],
        schema=STATE_SCHEMA,
    )


@dataclass(frozen=True, slots=True)
class Ghost:
    """What stays of facts that are forgotten: their packed ids, and how many were repeats."""

    ids: bytes
    duplicates: int


def _ghosts(state: pa.Table, events: pa.Table, now: int, horizon_ms: int) -> Mapping[str, Ghost]:
    """By user, of ``events`` that all are forgotten."""
    if not len(events):
        return {}
    keys, has_id = keys_of(events)
    stored, _ = packed(state["ids"], ID)
    repeated = repeats(events, keys, has_id, stored, horizon_ms)
    ids = np.empty(len(keys), ID)
    ids["hash"], ids["at"] = keys, ints(events["at"], now) // 1_000
    rows: dict[str, list[int]] = {}
    for row, user in enumerate(events["user_id"].to_pylist()):
        rows.setdefault(user, []).append(row)
    found = {}
    for user, of in rows.items():
        places = np.array(of)
        fresh = np.sort(ids[places[~repeated[places] & has_id[places]]], order="hash")
        found[user] = Ghost(fresh.tobytes(), int(repeated[places].sum()))
    return found
