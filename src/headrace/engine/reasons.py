"""Why memberships turned over, and since when."""

from __future__ import annotations

import numpy as np

from headrace.clock import MINUTE
from headrace.engine.changes import REASONS, Transitions
from headrace.engine.group import Facts
from headrace.engine.program import Compiled
from headrace.engine.state import Bools, Ints
from headrace.engine.verdicts import Definition, Turns

LATE = 10 * MINUTE
"""An event this much older than now is late."""

CAUSES = ("delete", "merge", "correction")
"""Reasons that come along with a state row."""


def explained(
    code: Compiled, turns: Turns, fresh: Facts, counting: Facts, *, told: Ints, waited: Ints,
    causes: Ints, definition: Definition, now: int,
) -> Transitions:  # fmt: skip
    """Each turn with the first reason of REASONS that applies, and the instant it holds from.

    ``fresh`` facts arrived in this batch, ``counting`` ones count from it on; ``told`` are the
    users with a trait fact, ``waited`` says until when each user's last state was to hold,
    ``causes`` which of CAUSES changed each user's identity (-1: none).
    """
    users, rules = turns.users, turns.rules
    if not len(users):
        nothing = np.empty(0, np.int64)
        return Transitions(users, rules, turns.entered, nothing, nothing)
    last = np.full(len(waited), -1, np.int64)
    for facts in (fresh, counting):
        np.maximum.at(last, facts.owners, np.minimum(facts.ts, now))
    active = last >= 0
    defined = np.isin(rules, definition.rules) | (rules >= len(code.version_ids))
    caused = causes[users]
    by_trait, late = _by_inputs(code, turns, fresh, told, len(waited), now)
    applies = {
        **{cause: caused == place for place, cause in enumerate(CAUSES)},
        "definition": defined,
        "trait": by_trait,
        "late": late,
        "event": active[users],
        "time": np.ones(len(users), np.bool_),
    }
    choices = [applies[reason] for reason in REASONS]
    since = np.where(active[users], last[users], np.minimum(waited[users], now))
    return Transitions(
        users,
        rules,
        turns.entered,
        reasons=np.select(choices, list(range(len(choices)))),
        effective=np.where(defined | (caused >= 0), now, since),
    )


def _by_inputs(
    code: Compiled, turns: Turns, fresh: Facts, told: Ints, size: int, now: int
) -> tuple[Bools, Bools]:
    """Did a trait that the rule may look at change, or a late event of a type it looks at come?"""
    if not len(code.version_ids):
        nothing = np.zeros(len(turns.users), np.bool_)
        return nothing, nothing
    rules = np.minimum(turns.rules, len(code.version_ids) - 1)  # ended ones have their reason
    was_told = np.zeros(size, np.bool_)
    was_told[told] = True
    late = np.zeros((size, max(1, len(code.type_number))), np.bool_)
    old = fresh.take((fresh.ts < now - LATE) & (fresh.kinds >= 0))
    late[old.owners, old.kinds] = True
    came_late: Bools = np.any(late[turns.users] & code.rule_types[rules], axis=1)
    return was_told[turns.users] & code.rule_has_trait[rules], came_late
