"""Who is who from batch to batch: ids that were ever linked make a family, kept row by row.

A family is judged anew as a whole whenever one of its links arrives or comes true, so the order
in which links arrive means nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from headrace.clock import Instant
from headrace.engine.identity import Link, reached, resolve

FAMILY_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("family", pa.string()),
        ("canonical", pa.string()),
        ("forgotten", pa.int64()),
        ("links", pa.string()),
        ("due", pa.int64()),
    ]
)
"""An id as sent; the smallest id ever linked with it; whom it goes by; the instant up to which
its facts are forgotten; the links it stands in, as JSON; when the first of those comes true."""

MOVES_SCHEMA = pa.schema(
    [
        ("origin", pa.string()),
        ("user_id", pa.string()),
        ("role", pa.string()),
        ("cause", pa.string()),
        ("into", pa.string()),
    ]
)
"""What becomes of the state of ``origin``: it ``joins`` that of ``user_id``, ``lends`` him only its
event ids, ``stays`` his own though its facts are told anew, the same ``again`` without anything
having been forgotten, or ``leaves`` (for ``into``)."""

ANEW = ("stays", "again", "leaves")
"""Roles of those whose state begins anew or ends."""


@dataclass(slots=True)
class Regrouping:
    """What new links change.

    ``rows`` (FAMILY_SCHEMA) are new, ``moves`` (MOVES_SCHEMA) say whose states go where,
    ``forgotten`` holds changed instants by id (None: not forgotten any more), ``retold`` the ids
    whose facts must be read again, of ``corrected`` users because their state was wrong.
    """

    rows: pa.Table
    moves: pa.Table
    forgotten: Mapping[str, Instant | None]
    retold: tuple[str, ...]
    corrected: int = 0


@dataclass(frozen=True, slots=True)
class _Known:
    canonical: str
    forgotten: Instant | None = None


@dataclass(slots=True)
class _Moves:
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, origin: str, user: str, role: str, cause: str, into: str | None = None) -> None:
        self.rows.append(
            {"origin": origin, "user_id": user, "role": role, "cause": cause, "into": into}
        )


def regroup(known: pa.Table, links: Iterable[Link], *, now: Instant) -> Regrouping:
    """Whole families (FAMILY_SCHEMA, one row an id) and new links -> what is so at ``now``."""
    before = {row["user_id"]: row for row in known.to_pylist()}
    standing: dict[str, set[Link]] = defaultdict(set)
    for user, row in before.items():
        standing[user] |= {tuple(link) for link in orjson.loads(row["links"])}
    for link in links:
        for user in _ends(link):
            standing[user].add(link)
    everything = set().union(*standing.values())
    identities = resolve(everything, at=now)
    graph: dict[str, set[str]] = defaultdict(set)
    for link in everything:
        for user in _ends(link):
            graph[user].update(_ends(link))
    rows: list[dict[str, Any]] = []
    moves, forgotten, retold = _Moves(), {}, []
    left = set(standing)
    while left:
        family = reached(graph, left.pop())
        left -= family
        name = min(family)
        was, now_is = {}, {}
        for user in sorted(family):
            row = before.get(user)
            was[user] = _Known(row["canonical"], row["forgotten"]) if row else _Known(user)
            now_is[user] = _Known(
                identities.canonical.get(user, user), identities.forgotten.get(user)
            )
            told = {
                "user_id": user,
                "family": name,
                "canonical": now_is[user].canonical,
                "forgotten": now_is[user].forgotten,
                "links": orjson.dumps(sorted(standing[user])).decode(),
                "due": min((link[0] for link in standing[user] if link[0] > now), default=None),
            }
            if told != row:
                rows.append(told)
            if now_is[user].forgotten != was[user].forgotten:
                forgotten[user] = now_is[user].forgotten
        if _only_grew(was, now_is):
            _join(was, now_is, moves)
        else:
            _retell(was, now_is, moves)
            retold += sorted(family)
    return Regrouping(
        pa.Table.from_pylist(rows, FAMILY_SCHEMA),
        pa.Table.from_pylist(moves.rows, MOVES_SCHEMA),
        forgotten,
        tuple(retold),
    )


def told_again(users: Sequence[str]) -> Regrouping:
    """Nothing changes for ``users`` but that their facts are told anew."""
    moves = _Moves()
    for user in users:
        moves.add(user, user, "again", "correction")
    return Regrouping(
        FAMILY_SCHEMA.empty_table(),
        pa.Table.from_pylist(moves.rows, MOVES_SCHEMA),
        {},
        tuple(users),
        len(users),
    )


def _ends(link: Link) -> tuple[str, ...]:
    _, kind, user, source = link
    return (user, source) if kind == "alias" else (user,)


def _only_grew(was: Mapping[str, _Known], now_is: Mapping[str, _Known]) -> bool:
    """Do ids that went together still do, and is nothing forgotten that was not?"""
    together: dict[str, set[str]] = defaultdict(set)
    for user, known in was.items():
        together[known.canonical].add(now_is[user].canonical)
    return all(len(names) == 1 for names in together.values()) and all(
        was[user].forgotten == now_is[user].forgotten for user in was
    )


def _join(was: Mapping[str, _Known], now_is: Mapping[str, _Known], moves: _Moves) -> None:
    """States add up: each former holder's joins that of the id it goes by now."""
    for holder in sorted({known.canonical for known in was.values()}):
        target = now_is[holder].canonical
        if target != holder:
            moves.add(holder, target, "joins", "merge")
    _leave(was, now_is, moves)


def _retell(was: Mapping[str, _Known], now_is: Mapping[str, _Known], moves: _Moves) -> None:
    """What cannot be taken out of a state again is told anew, from the facts that are left."""
    holders = sorted({known.canonical for known in was.values()})
    for target in sorted({known.canonical for known in now_is.values()}):
        moves.add(target, target, "stays", "delete")
        for holder in holders:
            if holder != target:
                moves.add(holder, target, "lends", "delete")
    _leave(was, now_is, moves)


def _leave(was: Mapping[str, _Known], now_is: Mapping[str, _Known], moves: _Moves) -> None:
    for user, known in now_is.items():
        into = known.canonical
        if into not in (user, was[user].canonical):
            cause = "merge" if known.forgotten == was[user].forgotten else "delete"
            moves.add(user, user, "leaves", cause, into)
