"""Rules for everyone at once: predicates as packed bits, rules of one shape by one expression.

With eight users a byte, what all rules say of some thousand users fits into the processor's
caches, and a rule costs a few instructions for 64 of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headrace.engine.members import Members
from headrace.engine.program import Compiled, Gate, Shape
from headrace.engine.rules import Bytes, Group
from headrace.engine.state import Bools, Ints

USERS = 1 << 15
"""Whose bits are held at once: 4 KiB a predicate."""

RULES = 256
"""Rules that are combined at once: they are still in the cache when they are compared."""


def unlike(
    code: Compiled, group: Group, members: Members, size: int, rules: Ints
) -> Iterator[tuple[Ints, Ints, Bools]]:
    """(users, rules, holds) where one of ``rules`` says other than ``members`` does."""
    stored = _Stored(code, members)
    for first in range(0, size, USERS):
        users = slice(first, min(first + USERS, size))
        for some, bits in rules_of(code, group, users, rules):
            held = bits.copy()
            stored.flip(bits, some, users)
            rows, columns = np.nonzero(bits)
            if len(rows):
                yield _pairs(bits, held, rows, columns, some, first)


def rules_of(
    code: Compiled, group: Group, users: slice, rules: Ints
) -> Iterator[tuple[Ints, Bytes]]:
    """``rules``, some at a time, and what each says of ``users``: a row of packed bits."""
    shapes = code.shape_of[rules]
    last = np.packbits(np.ones((users.stop - users.start) % 8 or 8, np.bool_))
    for number in np.flatnonzero(np.bincount(shapes)).tolist():
        alike = code.shapes[number]
        those = rules[shapes == number]
        used, places = np.unique(alike.predicates[code.row_of[those]], return_inverse=True)
        places = places.reshape(len(those), -1)
        table = group.packed(used, users)
        for start in range(0, len(those), RULES):
            some = slice(start, start + RULES)
            bits = _combined(alike.shape, table, places[some])
            bits[:, -1] &= last  # a negation is true of users beyond the last, too
            yield those[some], bits


def _combined(shape: Shape, table: Bytes, places: Ints) -> Bytes:
    """A row for each row of ``places``: the shape over those rows of ``table``."""
    if not isinstance(shape, Gate):
        return table[places[:, shape.place]]
    if not shape.parts:
        nothing = np.zeros((len(places), table.shape[1]), np.uint8)
        return ~nothing if shape.kind == "all" else nothing
    first, *others = shape.parts
    bits = _combined(first, table, places)
    if shape.kind == "not":
        return np.invert(bits, out=bits)
    join = np.bitwise_and if shape.kind == "all" else np.bitwise_or
    for part in others:
        join(bits, _combined(part, table, places), out=bits)
    return bits


def _pairs(
    bits: Bytes, held: Bytes, rows: Ints, columns: Ints, rules: Ints, first: int
) -> tuple[Ints, Ints, Bools]:
    """The set bits of some bytes as pairs, and what ``held`` has there."""
    which, bit = np.nonzero(np.unpackbits(bits[rows, columns][:, None], axis=1))
    holds = (held[rows[which], columns[which]] >> (7 - bit).astype(np.uint8)) & 1
    return first + columns[which] * 8 + bit, rules[rows[which]], holds.astype(np.bool_)


class _Stored:
    """Memberships by rule."""

    def __init__(self, code: Compiled, members: Members) -> None:
        users, versions = members.pairs()
        rules = code.rules_of(versions)
        order = np.lexsort((users, rules))[np.count_nonzero(rules < 0) :]
        self._users = users[order]
        self._starts = np.searchsorted(rules[order], np.arange(len(code.version_ids) + 1))

    def flip(self, bits: Bytes, rules: Ints, users: slice) -> None:
        """Turn the bits of members over: what is set then is not as it was."""
        for row, rule in enumerate(rules.tolist()):
            start, end = self._starts[rule], self._starts[rule + 1]
            if start == end:
                continue
            those = self._users[start:end]
            inside = those[(those >= users.start) & (those < users.stop)] - users.start
            was = np.zeros(bits.shape[1] * 8, np.bool_)
            was[inside] = True
            bits[row] ^= np.packbits(was)
