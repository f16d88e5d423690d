"""Events -> records of the slots that count them: by type, not by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from headrace.clock import format_instant
from headrace.engine.columns import Column, Numbers, columns_of, truth
from headrace.engine.group import Facts
from headrace.engine.program import Compiled
from headrace.engine.state import Bools, Ints, Words
from headrace.engine.tiles import TILE_BITS, Keys
from headrace.errors import OperatorError
from headrace.rules.catalog import FieldType
from headrace.rules.model import Condition


def folded(
    form: Keys, facts: Facts, now: int, slots: Iterable[int] | None = None
) -> tuple[Words, Ints]:
    """Sorted keys and values of the records that ``facts`` (none after ``now``) come to.

    With ``slots`` (places), only those. Records of equal keys are not combined yet.
    """
    code = form.code
    wanted = None if slots is None else set(slots)
    found: dict[int, tuple[Words, Ints]] = {}
    # By user and time: each slot's records then come out sorted.
    facts = facts.take(np.lexsort((facts.ts, facts.owners)))
    for number, event in enumerate(code.plan.event_types):
        program = code.events[event]
        places = [p for p in program.slots if wanted is None or p in wanted]
        rows = np.flatnonzero(facts.kinds == number)
        if not len(rows) or not places:
            continue
        of = facts.take(rows)
        columns = columns_of(of.properties.tolist(), program.fields)
        masks: dict[tuple[int | None, str | None], Bools | None] = {}
        for place in places:
            slot = code.plan.slots[place]
            base = code.plan.bases[slot.base]
            key = base.filter, base.field
            if key not in masks:
                masks[key] = _passing(code, base.filter, base.field, columns, program.fields, rows)
            if slot.hop and now // slot.hop >= 1 << TILE_BITS:
                raise OperatorError(
                    f"{format_instant(now)} is too far for a resolution of a second"
                )
            tiles = of.ts // slot.hop if slot.hop else np.zeros(len(rows), np.int64)
            mask = masks[key]
            if slot.hop:
                alive = tiles >= (now - slot.keep) // slot.hop
                mask = alive if mask is None else mask & alive
            owners = of.owners
            value = _values(slot.accumulator, base.field, columns, len(rows))
            if mask is not None and not mask.all():
                owners, tiles, value = owners[mask], tiles[mask], value[mask]
            found[place] = form.of(place, owners, tiles), value
    if not found:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    keys, values = zip(*(found[place] for place in sorted(found)), strict=True)
    return np.concatenate(keys), np.concatenate(values)


def _passing(
    code: Compiled,
    filter_: int | None,
    field: str | None,
    columns: Mapping[str, Column],
    fields: Mapping[str, FieldType],
    rows: Ints,
) -> Bools | None:
    mask: Bools | None = None
    if filter_ is not None:
        condition: Condition = code.filters[filter_]
        mask = truth(condition, columns, fields, len(rows))
    if field is not None:
        there = columns[field].present()
        mask = there if mask is None else mask & there
    return mask


def _values(accumulator: str, field: str | None, columns: Mapping[str, Column], size: int) -> Ints:
    if accumulator == "count" or field is None:
        return np.ones(size, np.int64)
    column = columns[field]
    assert isinstance(column, Numbers)
    return column.values
