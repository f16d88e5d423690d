"""Who is who: joined ids and deletions, resolved over all alias and delete facts at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from headrace.clock import Instant
from headrace.engine.state import FACTS_SCHEMA

LINKS = ("alias", "delete")
"""Types of facts that speak of identities."""

FORGOTTEN = ""
"""The type of a fact of which only its id is left: no event has it."""

Link: TypeAlias = tuple[Instant, str, str, str]
"""One of them: ts, type, the deleted id or the ``to`` one, the ``from`` one of an alias or ""."""


@dataclass(frozen=True, slots=True)
class Identities:
    """Who goes by another id, and what is forgotten.

    ``canonical``: joined id -> the id it goes by; ``forgotten``: id as sent -> the instant up to
    and including which its facts are forgotten.
    """

    canonical: Mapping[str, str] = field(default_factory=dict)
    forgotten: Mapping[str, int] = field(default_factory=dict)


def links_of(events: pa.Table) -> list[Link]:
    """The alias and delete rows of an EVENTS table.

    Of an alias, ``user_id`` is the ``to`` id and ``properties`` hold both.
    """
    rows = events.filter(pc.is_in(events["type"], pa.array(LINKS)))
    columns = (rows[name].to_pylist() for name in ("ts", "type", "user_id", "properties"))
    return [
        (ts, kind, user, orjson.loads(text)["from"] if kind == "alias" else "")
        for ts, kind, user, text in zip(*columns, strict=True)
    ]


def resolve(links: Iterable[Link], *, at: Instant) -> Identities:
    """Identities at ``at``.

    The order of the links means nothing: a deletion sees the joins made up to its own instant,
    that one included.
    """
    graph: dict[str, set[str]] = {}
    sources: dict[tuple[str, str], None] = {}
    forgotten: dict[str, int] = {}
    # At one instant "alias" sorts before "delete", as the deletion takes that join along.
    for ts, kind, user, source in sorted(links):
        if ts > at:
            break
        if kind == "alias":
            sources[source, user] = None
            graph.setdefault(source, set()).add(user)
            graph.setdefault(user, set()).add(source)
            continue
        for one in reached(graph, user):
            forgotten[one] = ts
            for other in graph.pop(one, ()):
                sources.pop((one, other), None)
                sources.pop((other, one), None)
    return Identities(_canonical(graph, {source for source, _ in sources}), forgotten)


def reached(graph: Mapping[str, set[str]], user: str) -> set[str]:
    """Everyone whom a way leads to from ``user``, himself included."""
    found, todo = {user}, [user]
    while todo:
        for other in graph.get(todo.pop(), ()):
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def _canonical(graph: Mapping[str, set[str]], sources: set[str]) -> dict[str, str]:
    canonical: dict[str, str] = {}
    for user in graph:
        if user in canonical:
            continue
        together = reached(graph, user)
        name = min(together - sources or together)
        canonical.update((one, name) for one in together if one != name)
        canonical[name] = name
    return {user: name for user, name in canonical.items() if user != name}


def apply_identities(events: pa.Table, identities: Identities) -> pa.Table:
    """Ordinary and trait facts (EVENTS_SCHEMA with ``at``) as FACTS_SCHEMA under canonical ids;
    those forgotten are of type FORGOTTEN."""
    rows = events.filter(pc.invert(pc.is_in(events["type"], pa.array(LINKS))))
    sent = rows["user_id"].cast(pa.string()).combine_chunks()
    if isinstance(sent, pa.ChunkedArray):
        sent = pa.concat_arrays(sent.chunks) if sent.num_chunks else pa.array([], pa.string())
    coded = sent.dictionary_encode()
    distinct = coded.dictionary.to_pylist()
    names = pa.array([identities.canonical.get(user, user) for user in distinct], pa.string())
    until = np.array([identities.forgotten.get(user, -1) for user in distinct], np.int64)
    columns = {"user_id": names.take(coded.indices), "sent_id": sent}
    for schema_field in FACTS_SCHEMA:
        if schema_field.name not in columns:
            columns[schema_field.name] = rows[schema_field.name].cast(schema_field.type)
    facts = pa.table(columns).select(FACTS_SCHEMA.names)
    if not identities.forgotten or not len(facts):
        return facts
    kept = pa.array(facts["ts"].to_numpy() > until[coded.indices.to_numpy()])
    place = facts.schema.get_field_index("type")
    return facts.set_column(place, "type", pc.if_else(kept, facts["type"], FORGOTTEN))
