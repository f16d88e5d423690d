"""Transitions of users as the text of their messages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson
import xxhash

from headrace.engine.measures import Values, number_text
from headrace.engine.program import Compiled, expand
from headrace.engine.state import Bools, Ints
from headrace.plan.lines import MISSING

REASONS = ("delete", "merge", "definition", "correction", "trait", "late", "event", "time")
"""Why a membership turned over: the first that applies."""


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
    place = np.searchsorted(users, transitions.users)
    changes: list[list[str]] = [[] for _ in names]
    for at, text in zip(
        place.tolist(),
        _changes(code, transitions, ended, values, users, names, now, n),
        strict=True,
    ):
        changes[at].append(text)
    texts = []
    for name, first, shown, of in zip(names, first_seen.tolist(), traits, changes, strict=True):
        tail = f',"traits":{shown}}}' if shown is not None else "}"
        texts.append(
            f'{{"user":{orjson.dumps(name).decode()},"n":{n},"at":{now},'
            f'"first_seen":{"true" if first else "false"},"changes":[{",".join(of)}]{tail}'
        )
    return texts


def _changes(
    code: Compiled, transitions: Transitions, ended: list[Ended], values: Values, users: Ints,
    names: list[str], now: int, n: int,
) -> list[str]:  # fmt: skip
    """The text of each change; what changes of a rule share was written once."""
    keys, hashed = code.rule_keys, code.rule_names
    if ended:
        keys = keys + [
            f'"segment":{orjson.dumps(e.segment).decode()},"version":{e.version},"ends":true'
            for e in ended
        ]
        hashed = hashed + [f"{e.segment}|{e.version}" for e in ended]
    digest = xxhash.xxh64_hexdigest
    why = [
        [f'"change":"{way}","reason":"{reason}","at":{now},"effective_at":' for reason in REASONS]
        for way in ("exit", "enter")
    ]
    name_of = [names[place] for place in np.searchsorted(users, transitions.users).tolist()]
    rows = zip(
        name_of, transitions.rules.tolist(), transitions.entered.tolist(),
        transitions.reasons.tolist(), transitions.effective.tolist(),
        _supporting(code, transitions, values, now), strict=True,
    )  # fmt: skip
    return [
        f'{{"id":"{digest(f"{hashed[rule]}|{name}|{n}".encode())}",{keys[rule]},'
        f'{why[entered][reason]}{effective},"measures":{{{measures}}}}}'
        for name, rule, entered, reason, effective, measures in rows
    ]


def _supporting(code: Compiled, transitions: Transitions, values: Values, now: int) -> list[str]:
    """The measures of each transition's rule, as the inside of a JSON object."""
    starts, measures = code.measures_by_rule
    rules = np.minimum(transitions.rules, len(starts) - 1)  # ended versions: a group of none
    last = np.minimum(rules + 1, len(starts) - 1)
    row, place = expand(starts, rules, last)
    measure, user = measures[place], transitions.users[row]
    numbers = values.table[measure, user]
    whole = np.where(code.averages[measure], numbers >> 1, numbers)
    whole = np.where(code.ages[measure] & (numbers != MISSING), now - numbers, whole)
    names = code.measure_keys
    # Below 10**15 a double holds ten-thousandths to the digit; 15 digits then print them exactly.
    texts = [
        f'{names[m]}:"{number:.15g}"'
        for m, number in zip(measure.tolist(), (whole / code.scales[measure]).tolist(), strict=True)
    ]
    for i in np.flatnonzero(np.abs(whole) >= 10**15).tolist():  # MISSING too
        of = int(measure[i])
        value = values.exact.get((of, int(user[i])), int(numbers[i]))
        text = number_text(value, code.plan.measures[of].line)
        texts[i] = f'{names[of]}:"{text}"' if text is not None else f"{names[of]}:null"
    ends = np.cumsum(starts[last] - starts[rules]).tolist()
    return [",".join(texts[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
