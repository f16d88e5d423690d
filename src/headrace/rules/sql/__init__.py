"""The SQL spelling of rules: text -> model -> text.

A SQL rule means what standard SQL means, NULL included; hops apart. What reaches the model is
built from an allow-list of nodes, and nothing of a text is ever passed on.
"""

from __future__ import annotations

from dataclasses import replace

from headrace.rules.documents import in_order
from headrace.rules.source import Places, SegmentText
from headrace.rules.sql.draft import Draft
from headrace.rules.sql.guard import is_readable, parse, room_to_recurse
from headrace.rules.sql.header import read_header
from headrace.rules.sql.limits import beyond
from headrace.rules.sql.printing import print_sql
from headrace.rules.sql.statement import read_query


def read_sql(text: str, file: str = "<text>") -> SegmentText:
    """The segment in ``text``. With problems, what could be read of it, for further checks."""
    draft = Draft(file, text)
    if not is_readable(draft):
        return SegmentText(None, Places(file), in_order(draft.problems))
    with room_to_recurse():
        try:
            return _read(draft)
        except RecursionError:
            draft.problem("HR400", "nested too deep", draft.place(0))
            return SegmentText(None, Places(file), in_order(draft.problems))


def _read(draft: Draft) -> SegmentText:
    header = read_header(draft)
    tree = parse(draft)
    segment, places = header.segment, header.places
    condition = read_query(draft, tree) if tree is not None else None
    if tree is not None and condition is not None:
        whole = replace(segment, condition=condition)
        too_much = beyond(whole)
        if too_much:  # nor shall anybody after us go through it
            message = f"{too_much}, once NULL is written out"
            draft.problem("HR400", message, draft.place_of(tree))
        else:
            segment = whole
            places = {(): draft.place_of(tree), **places, **draft.places(condition)}
    return SegmentText(segment, Places(draft.file, places), in_order(draft.problems))


__all__ = ["print_sql", "read_sql"]
