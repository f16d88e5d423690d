"""What is left of links between ids without the forgotten, and whom refused bytes may name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from headrace.clock import Instant
from headrace.engine.families import FAMILY_SCHEMA
from headrace.engine.identity import Link, reached
from headrace.engine.judge import MAX_ID

DATED_SCHEMA = FAMILY_SCHEMA.append(pa.field("n", pa.int64())).append(pa.field("at", pa.int64()))
"""Rows of ``identities``."""

_QUOTED = re.compile(r'"([^"\\]*)"')
_WORD = re.compile(r"[^\s\x00-\x1f\x7f\ufffd,;:=&|\\\"'<>(){}\[\]]+")

_Row: TypeAlias = dict[str, Any]


def remembered(rows: pa.Table, *, n: int) -> pa.Table:
    """All rows of whole families (DATED_SCHEMA) without what deletions took.

    A link up to the instant of a deletion that reached its ends is gone, and an id with its last
    link. An id that was linked again since keeps its rows since, with those links and the deletion
    as its own. Families with a deletion carried out after batch ``n`` stay as they are.
    """
    by_user: dict[str, list[_Row]] = defaultdict(list)
    for row in sorted(rows.to_pylist(), key=lambda row: row["n"]):
        by_user[row["user_id"]].append(row)
    families: dict[str, list[str]] = defaultdict(list)
    for user, told in by_user.items():
        families[told[-1]["family"]].append(user)
    kept: list[_Row] = []
    for users in families.values():
        family = {user: by_user[user] for user in users}
        carried_out = [_since(told) for told in family.values()]
        if any(since is not None and since > n for since in carried_out):
            kept += [row for told in family.values() for row in told]
        else:
            kept += _without_the_forgotten(family)
    return pa.Table.from_pylist(kept, DATED_SCHEMA)


def _since(told: Sequence[_Row]) -> int | None:
    """The batch that carried out the newest deletion of an id; None if there was none."""
    forgotten = told[-1]["forgotten"]
    if forgotten is None:
        return None
    first: int = next(row["n"] for row in told if row["forgotten"] == forgotten)
    return first


def _without_the_forgotten(family: Mapping[str, Sequence[_Row]]) -> list[_Row]:
    until = {user: told[-1]["forgotten"] for user, told in family.items()}
    live = {user: _live(told[-1], until) for user, told in family.items()}
    graph: dict[str, set[str]] = defaultdict(set)
    for user, standing in live.items():
        for _, _, one, other in standing:
            graph[user] |= {one, other or one}
    kept: list[_Row] = []
    for user, told in family.items():
        if not live[user]:
            continue
        name, since = min(reached(graph, user)), _since(told)
        own: set[Link] = set() if since is None else {(until[user], "delete", user, "")}
        for row in told:
            if since is None or row["n"] >= since:
                links = sorted(_live(row, until) | own)
                kept.append({**row, "family": name, "links": orjson.dumps(links).decode()})
    return kept


def _live(row: _Row, until: Mapping[str, Instant | None]) -> set[Link]:
    """The links of a row that no deletion took: one that did reached both ends."""
    links: list[Link] = [tuple(link) for link in orjson.loads(row["links"])]
    ends = {link: until.get(link[2]) for link in links}
    return {link for link in links if (end := ends[link]) is None or link[0] > end}


def own_deletion(user: str, until: Instant) -> _Row:
    """The row of FAMILY_SCHEMA that says of a forgotten id all that its tombstone knows."""
    links: list[Link] = [(until, "delete", user, "")]
    return {
        "user_id": user,
        "family": user,
        "canonical": user,
        "forgotten": until,
        "links": orjson.dumps(links).decode(),
        "due": None,
    }


def names_in(raw: bytes) -> set[str]:
    """Every text in refused bytes that may be somebody's id, be they JSON, cut off, or none."""
    text = raw.decode("utf-8", "replace")
    found = {*_QUOTED.findall(text), *_WORD.findall(text)}
    with suppress(orjson.JSONDecodeError):
        found |= _texts(orjson.loads(raw))
    return {name for name in found if 0 < len(name) <= MAX_ID}


def _texts(value: Any) -> set[str]:
    todo, found = [value], set()
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, dict):
            todo += [*one, *one.values()]
        elif isinstance(one, list):
            todo += one
    return found
