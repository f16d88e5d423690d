"""Transitions of users as the text of their messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import orjson
import xxhash

from headrace.engine.measures import Values, number_text
from headrace.engine.program import Compiled
from headrace.engine.state import Bools, Ints
from headrace.plan.lines import MISSING

REASONS = ("merge", "definition", "trait", "late", "event", "time")


@dataclass(frozen=True, slots=True)
class Transitions:
    """(user, rule) pairs whose membership turned over, sorted; one array per column.

    Rules at or beyond the number of the plan's programs are versions that ended: see ``ended``.
    """

    users: Ints
    rules: Ints
    entered: Bools
    reasons: Ints  # places in REASONS
    effective: Ints


@dataclass(frozen=True, slots=True)
class Ended:
    """A version that is no longer in the plan."""

    segment: str
    version: int


def messages(
    code: Compiled,
    transitions: Transitions,
    ended: list[Ended],
    values: Values,
    *,
    users: Ints,
    names: list[str],
    first_seen: Bools,
    traits: list[str | None],
    now: int,
    n: int,
) -> list[str]:
    """The text of each user's memberships.v1 message, for all ``users`` (sorted) that have one.

    ``names``, ``first_seen`` and ``traits`` (JSON text to show, or None) go along with ``users``.
    """
    write = _writer(code, ended, values, now, n)
    place = np.searchsorted(users, transitions.users)
    changes: list[list[str]] = [[] for _ in names]
    rows = zip(
        place.tolist(), transitions.users.tolist(), transitions.rules.tolist(),
        transitions.entered.tolist(), transitions.reasons.tolist(),
        transitions.effective.tolist(), strict=True,
    )  # fmt: skip
    for at, user, rule, entered, reason, effective in rows:
        changes[at].append(write(names[at], user, rule, entered, reason, effective))
    texts = []
    for name, first, shown, of in zip(names, first_seen.tolist(), traits, changes, strict=True):
        tail = f',"traits":{shown}}}' if shown is not None else "}"
        texts.append(
            f'{{"user":{orjson.dumps(name).decode()},"n":{n},"at":{now},'
            f'"first_seen":{"true" if first else "false"},"changes":[{",".join(of)}]{tail}'
        )
    return texts


def _writer(
    code: Compiled, ended: list[Ended], values: Values, now: int, n: int
) -> Callable[[str, int, int, bool, int, int], str]:
    """Writes one change; everything that users share is looked up in lists."""
    known = len(code.plan.programs)
    keys = code.rule_keys
    hashed = code.rule_names
    if ended:
        keys = keys + [
            f'"segment":{orjson.dumps(e.segment).decode()},"version":{e.version}' for e in ended
        ]
        hashed = hashed + [f"{e.segment}|{e.version}" for e in ended]
    lines = [measure.line for measure in code.plan.measures]
    names, of_rule, table = code.measure_keys, code.rule_measures, values.table
    digest = xxhash.xxh64_hexdigest

    def text(measure: int, user: int) -> str:
        value = int(table[measure, user])
        if lines[measure] == "age" and value != MISSING:
            value = now - value
        shown = number_text(values.exact.get((measure, user), value), lines[measure])
        return f'{names[measure]}:"{shown}"' if shown is not None else f"{names[measure]}:null"

    def write(name: str, user: int, rule: int, entered: bool, reason: int, effective: int) -> str:
        measures = "" if rule >= known else ",".join([text(m, user) for m in of_rule[rule]])
        return (
            f'{{"id":"{digest(f"{hashed[rule]}|{name}|{n}".encode())}",{keys[rule]},'
            f'"change":"{"enter" if entered else "exit"}","reason":"{REASONS[reason]}",'
            f'"at":{now},"effective_at":{effective},"measures":{{{measures}}}}}'
        )

    return write


__all__ = ["REASONS", "Ended", "Transitions", "messages"]
