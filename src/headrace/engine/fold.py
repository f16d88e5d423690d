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
from headrace.plan.model import Base
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
        masks: dict[int, Bools | None] = {}
        for place in places:
            slot = code.plan.slots[place]
            base = code.plan.bases[slot.base]
            if slot.base not in masks:
                masks[slot.base] = _passing(code, base, columns, program.fields, of.ts)
            if slot.hop and now // slot.hop >= 1 << TILE_BITS:
                raise OperatorError(
                    f"{format_instant(now)} is too far for a resolution of a second"
                )
            tiles = of.ts // slot.hop if slot.hop else np.zeros(len(rows), np.int64)
            mask = masks[slot.base]
            if slot.keep:
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
    base: Base,
    columns: Mapping[str, Column],
    fields: Mapping[str, FieldType],
    stamps: Ints,
) -> Bools | None:
    masks: list[Bools] = []
    if base.filter is not None:
        condition: Condition = code.filters[base.filter]
        masks.append(truth(condition, columns, fields, len(stamps)))
    if base.field is not None:
        masks.append(columns[base.field].present())
    if base.start is not None:
        masks.append(stamps >= base.start)
    if base.end is not None:
        masks.append(stamps < base.end)
    return np.logical_and.reduce(masks) if masks else None


def _values(accumulator: str, field: str | None, columns: Mapping[str, Column], size: int) -> Ints:
    if accumulator == "count" or field is None:
        return np.ones(size, np.int64)
    column = columns[field]
    assert isinstance(column, Numbers)
    return column.values
