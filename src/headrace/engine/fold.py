"""Events -> records of the slots that count them: by type, not by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from headrace.clock import format_instant
from headrace.engine.columns import Column, Numbers, columns_of, hashes, listed, truth
from headrace.engine.group import Facts
from headrace.engine.logs import Entry, Log
from headrace.engine.program import Compiled
from headrace.engine.state import Bools, Ints, Words
from headrace.engine.tiles import TILE_BITS, Keys
from headrace.errors import OperatorError
from headrace.plan.model import LOGGED, Base, Slot
from headrace.rules.catalog import FieldType
from headrace.rules.model import Condition


@dataclass(frozen=True, slots=True)
class Folded:
    """Records with sorted keys, those of equal ones not combined yet, and entries of logs."""

    keys: Words
    values: Ints
    log: Log


def folded(form: Keys, facts: Facts, now: int, slots: Iterable[int] | None = None) -> Folded:
    """What ``facts`` (none after ``now``) come to in the slots at ``slots``, or in all."""
    code = form.code
    wanted = None if slots is None else set(slots)
    found: dict[int, tuple[Words, Ints]] = {}
    log: Log = {}
    # By user and time: each slot's records then come out sorted.
    facts = facts.take(np.lexsort((facts.ts, facts.owners)))
    for number, event in enumerate(code.plan.event_types):
        program = code.events[event]
        places = [p for p in program.slots if wanted is None or p in wanted]
        rows = np.flatnonzero(facts.kinds == number)
        if not len(rows) or not places:
            continue
        some = _Happened(code, event, facts.take(rows), program.fields)
        for place in places:
            slot = code.plan.slots[place]
            if slot.hop and now // slot.hop >= 1 << TILE_BITS:
                raise OperatorError(
                    f"{format_instant(now)} is too far for a resolution of a second"
                )
            if slot.accumulator in LOGGED:
                _enter(log.setdefault(place, {}), some, slot)
            else:
                owners, tiles, numbers = some.records(slot, now)
                found[place] = form.of(place, owners, tiles), numbers
    if not found:
        return Folded(np.empty(0, np.uint64), np.empty(0, np.int64), log)
    parts = [found[place] for place in sorted(found)]
    keys, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Folded(keys, values, log)


class _Happened:
    """Facts of one event type, their columns read, and which of them pass each base."""

    def __init__(
        self, code: Compiled, event: str, facts: Facts, fields: Mapping[str, FieldType]
    ) -> None:
        self.event, self.facts = event, facts
        self._code, self._fields = code, fields
        self._columns = columns_of(facts.properties.tolist(), fields)
        self._masks: dict[int, Bools | None] = {}

    def __len__(self) -> int:
        return len(self.facts.owners)

    def base(self, place: int) -> Base:
        return self._code.plan.bases[place]

    def passing(self, place: int) -> Bools | None:
        """One bit per fact: does it pass the base? None: all do."""
        if place not in self._masks:
            base = self.base(place)
            self._masks[place] = _passing(
                self._code, base, self._columns, self._fields, self.facts.ts
            )
        return self._masks[place]

    def column(self, place: int) -> Column:
        """The field of a base."""
        field = self.base(place).field
        assert field is not None
        return self._columns[field]

    def records(self, slot: Slot, now: int) -> tuple[Ints, Ints, Ints]:
        """(owners, tiles, values) of a slot that is tiled or a set."""
        of = self.facts
        tiles = of.ts // slot.hop if slot.hop else np.zeros(len(self), np.int64)
        mask = self.passing(slot.base)
        if slot.keep:
            alive = tiles >= (now - slot.keep) // slot.hop
            mask = alive if mask is None else mask & alive
        owners, values = of.owners, self._values(slot)
        if mask is not None and not mask.all():
            return owners[mask], tiles[mask], values[mask]
        return owners, tiles, values

    def _values(self, slot: Slot) -> Ints:
        if slot.accumulator == "count" or self.base(slot.base).field is None:
            return np.ones(len(self), np.int64)
        column = self.column(slot.base)
        if slot.accumulator == "distinct":
            return hashes(column)
        assert isinstance(column, Numbers)
        return column.values


def _enter(log: dict[int, list[Entry]], some: _Happened, slot: Slot) -> None:
    """Add the facts that a slot keeps one by one."""
    facts = some.facts
    if slot.accumulator == "steps":
        steps = np.zeros(len(some), np.int64)
        for bit, place in enumerate(slot.steps):
            if some.base(place).event == some.event:
                mask = some.passing(place)
                steps |= np.int64(1 << bit) * (1 if mask is None else mask.astype(np.int64))
        rows, values = np.flatnonzero(steps), steps[steps != 0].tolist()
    else:
        mask = some.passing(slot.base)
        rows = np.arange(len(some)) if mask is None else np.flatnonzero(mask)
        values = listed(some.column(slot.base).take(rows))
    for owner, ts, id_, value in zip(
        facts.owners[rows].tolist(), facts.ts[rows].tolist(), facts.ids[rows], values, strict=True
    ):
        log.setdefault(owner, []).append((ts, id_ or "", value))


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
