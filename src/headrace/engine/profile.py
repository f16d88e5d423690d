"""What every measure of a plan comes to for users as they are stored."""

from __future__ import annotations

from typing import TypeAlias

import pyarrow as pa

from headrace.engine.group import fact_rows, input_rows, users_of
from headrace.engine.logs import Logs
from headrace.engine.measures import Values, measured, number_text
from headrace.engine.program import Compiled, compiled
from headrace.engine.standing import Stood
from headrace.engine.state import FACTS_SCHEMA
from headrace.engine.tiles import Keys, merged
from headrace.engine.windows import Windows
from headrace.plan.lines import MISSING
from headrace.plan.model import Plan

Measured: TypeAlias = dict[str, str | None]
"""A value as text by the measure's name, as messages show it; None: it is missing."""


def measures_of(state: pa.Table, *, plan: Plan, at: int) -> dict[str, Measured]:
    """The measures of ``plan`` at ``at`` by user, from ``state``: all stored rows of each.

    Facts that waited for their time and have not been folded since are not in them.
    """
    code = compiled(plan)
    state, none = input_rows(state), fact_rows(FACTS_SCHEMA.empty_table())
    users = users_of(state, none, now=at, everyone=True)
    if not len(users):
        return {}
    form = Keys(code, len(users))
    stood = Stood.of(form, users, state, None)
    nothing = (stood.tiles[0][:0], stood.tiles[1][:0])
    windows = Windows(
        merged(form, stood.tiles, nothing), Logs.of(code, stood.log, ()), at, stood.at
    )
    values = measured(windows)
    return {
        name: _texts(code, values, number, at)
        for number, name in enumerate(users.names.to_pylist())
    }


def _texts(code: Compiled, values: Values, user: int, at: int) -> Measured:
    told: Measured = {}
    for place, measure in enumerate(code.plan.measures):
        if measure.function == "stay":  # who is in says the membership
            continue
        value = values.exact.get((place, user), int(values.table[place, user]))
        if measure.line == "age" and value != MISSING:
            value = at - value
        told[measure.name] = number_text(value, measure.line)
    return told
