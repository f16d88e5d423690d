"""What WHERE says about ``ts``: the window of a statement."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from headrace.rules.model import Ago, Ever, Span, Window, Within, default_hop
from headrace.rules.sql.columns import TIME, Scope
from headrace.rules.sql.constants import is_constant, read_constant, read_instant
from headrace.rules.sql.draft import Draft
from headrace.rules.sql.terms import COMPARISONS, operator_of, sides


def is_time_term(scope: Scope, node: exp.Expr) -> bool:
    """Does ``node`` hold the time of an event against something?"""
    if isinstance(node, exp.Between):
        return scope.owns(node.this, TIME)
    if not isinstance(node, COMPARISONS):
        return False
    return any(scope.owns(side, TIME) for side in (node.args["this"], node.args["expression"]))


def read_window(draft: Draft, terms: Sequence[exp.Expr]) -> Window:
    """The one window that ``terms`` make; Ever when there are none, or a refused one."""
    ends: dict[str, int] = {}
    within: Window | None = None
    for term in terms:
        for bound in _bounds(draft, term):
            key, value = bound
            if key in ends or within is not None or (key == "within" and ends):
                message = f"a second window: {draft.written(term)!r}"
                hint = "one length back from now, or a start, an end, or both"
                draft.refuse("HR407", message, term, hint)
                return Ever()
            if key == "within":
                within = Within(value, default_hop(value))
            else:
                ends[key] = value
    if within is not None or not ends:
        return within or Ever()
    start, end = ends.get("start", 0), ends.get("end")  # no event is before 1970
    if end is not None and start >= end:
        draft.refuse("HR407", "the window ends before it starts: no event is in it", terms[0])
        return Ever()
    return Span(start, end)


def _bounds(draft: Draft, term: exp.Expr) -> list[tuple[str, int]]:
    """Where the window starts (included) or ends (excluded), or how far it goes back."""
    if isinstance(term, exp.Between):
        low, high = term.args["low"], term.args["high"]
        return [*_bound(draft, term, "gte", low), *_bound(draft, term, "lte", high)]
    left, constant, is_mirrored = sides(term)
    if type(term) not in (exp.GT, exp.GTE, exp.LT, exp.LTE) or not is_constant(constant):
        message = f"{draft.written(term)!r} is no window"
        hint = "ts > now() - INTERVAL 30 DAYS, or ts >= TIMESTAMP '..' AND ts < TIMESTAMP '..'"
        draft.refuse("HR407", message, term, hint)
        return []
    del left
    return _bound(draft, term, operator_of(term, is_mirrored=is_mirrored), constant)


def _bound(draft: Draft, term: exp.Expr, operator: str, node: exp.Expr) -> list[tuple[str, int]]:
    constant = read_constant(draft, node)
    if constant is None:
        return []
    if isinstance(constant.value, Ago):
        if operator in ("gt", "gte") and constant.value.length > 0:
            return [("within", constant.value.length)]
        message = f"{draft.written(term)!r} is no window: one goes back from now"
        hint = "ts > now() - INTERVAL 30 DAYS; EXCEPT leaves out whom a window has"
        draft.refuse("HR407", message, term, hint)
        return []
    if not constant.is_instant:
        message = f"{draft.written(node)!r} is no instant"
        hint = "write TIMESTAMP '2026-01-31 09:00:00' or DATE '2026-01-31' (UTC)"
        draft.refuse("HR407", message, node, hint)
        return []
    instant = read_instant(constant)
    # Events have whole milliseconds: after an instant is from the next one on.
    if operator in ("gt", "gte"):
        return [("start", instant + (operator == "gt"))]
    return [("end", instant + (operator == "lte"))]
