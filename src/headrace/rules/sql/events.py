"""A statement about one type of event: its window, its filter, and what HAVING says of a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sqlglot import exp

from headrace.errors import Place
from headrace.rules.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Function,
    Measure,
    Not,
    Property,
)
from headrace.rules.source import Path
from headrace.rules.sql.columns import TIME, Scope, column_name
from headrace.rules.sql.draft import Draft
from headrace.rules.sql.logic import (
    ONE,
    and_also,
    conjunction,
    holds_of_nobody,
    judged,
)
from headrace.rules.sql.terms import Found, judge_term
from headrace.rules.sql.windows import is_time_term, read_window

AGGREGATES: Final[Mapping[type[exp.Expr], Function]] = {
    exp.Count: "count", exp.Sum: "sum", exp.Avg: "avg", exp.Min: "min", exp.Max: "max",
    exp.ArgMin: "first", exp.ArgMax: "last",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a statement groups: one event type, filtered, in a window."""

    scope: Scope
    measure: Measure
    """The count of these rows."""
    places: Mapping[Path, Place]


def read_rows(draft: Draft, scope: Scope, table: exp.Table, terms: Sequence[exp.Expr]) -> Rows:
    """What ``FROM table WHERE terms`` takes."""
    timed = [(is_time_term(scope, term), term) for term in terms]
    times = [term for is_time, term in timed if is_time]
    window = read_window(draft, times)
    leaf = partial(judge_term, draft, resolve=partial(_property, draft, scope))
    kept = conjunction([judged(term, leaf) for is_time, term in timed if not is_time])
    place = draft.place_of(table)
    places: dict[Path, Place] = {(): place, ("event",): place}
    if times:
        places["window",] = draft.place_of(times[0])
    measure = Measure("count", table.name, None, kept.true if kept else None, window)
    return Rows(scope, measure, places)


def read_having(draft: Draft, rows: Rows, having: exp.Expr | None) -> Condition | None:
    """The users of whom ``having`` is TRUE; without one, those who have any row."""
    did = Compare(rows.measure, "gte", ONE)
    draft.stands(did, rows.places)
    if having is None:
        return did
    leaf = partial(judge_term, draft, resolve=partial(_aggregate, draft, rows))
    verdict = judged(having.this, leaf)
    if verdict is None:
        return None
    if not holds_of_nobody(verdict.true):
        return verdict.true
    # Users without a row form no group, whatever HAVING would say of them.
    parts = verdict.true.parts if isinstance(verdict.true, AllOf) else (verdict.true,)
    return AllOf((did, *parts))


def needs(condition: Condition | None, field: str) -> bool:
    """Does no event without ``field`` pass ``condition``?"""
    match condition:
        case AllOf(parts):
            return any(needs(part, field) for part in parts)
        case AnyOf(parts):
            return all(needs(part, field) for part in parts)
        case Compare(Property(name), "exists", value):
            return name == field and value is True
        case Compare(Property(name), operator, _):
            return name == field and operator not in ("ne", "not_in", "not_contains")
        case Not(Compare(Property(name), "exists", False)):
            return name == field
        case _:
            return False


def without_presence(condition: Condition | None, field: str) -> Condition | None:
    """``condition`` without saying in so many words that ``field`` is there."""
    parts = condition.parts if isinstance(condition, AllOf) else (condition,)
    kept = [part for part in parts if part != Compare(Property(field), "exists", True)]
    if len(kept) == len(parts):
        return condition
    return AllOf(tuple(p for p in kept if p)) if len(kept) > 1 else next(iter(kept), None)


def rows_of(measure: Measure) -> Measure | None:
    """The count of the rows that a statement about ``measure`` groups."""
    if measure.function == "days_active" or measure.zone != "UTC":
        return None
    where = measure.where
    if measure.function in ("first", "last") and measure.field is not None:
        if without_presence(where, measure.field) != where:
            return None  # that it is there is not read back: only such rows count anyway
        if isinstance(where, AllOf) and len(where.parts) < 2:
            return None
        if not needs(where, measure.field):
            parts = where.parts if isinstance(where, AllOf) else (where,)
            has_field = Compare(Property(measure.field), "exists", True)
            kept = tuple(part for part in parts if part is not None)
            where = AllOf((has_field, *kept)) if kept else has_field
    return replace(measure, function="count", field=None, where=where)


def _property(draft: Draft, scope: Scope, node: exp.Expr) -> Found | None:
    if isinstance(node, tuple(AGGREGATES)):
        hint = "put it into HAVING"
        draft.refuse("HR406", f"WHERE looks at one row: {draft.written(node)!r}", node, hint)
        return None
    name = column_name(draft, scope, node)
    if name == TIME:
        message = "ts stands alone, joined by AND: it is the window of all"
        hint = "combine statements of different windows: UNION, INTERSECT, EXCEPT"
        draft.refuse("HR407", message, node, hint)
        return None
    if name is None:
        return None
    place = draft.place_of(node)
    return Found(Property(name), {(): place, ("property",): place, ("operator",): place})


def _aggregate(draft: Draft, rows: Rows, node: exp.Expr) -> Found | None:
    function = AGGREGATES.get(type(node))
    if function is None:
        message = f"HAVING compares aggregates, not {draft.written(node)!r}"
        hint = "put it into WHERE" if isinstance(node, exp.Column) else ""
        draft.refuse("HR406", message, node, hint)
        return None
    place = draft.place_of(node)
    places = {**rows.places, (): place, ("function",): place, ("operator",): place}
    counted = node.this
    if function == "count" and _is_all(counted):
        return Found(rows.measure, places)
    if isinstance(counted, exp.Distinct):
        if function != "count" or len(counted.expressions) != 1:
            hint = "only count(DISTINCT column) is"
            message = f"{draft.written(node)!r} is not part of the rule language"
            draft.refuse("HR403", message, node, hint)
            return None
        function, counted = "distinct", counted.expressions[0]
    field = column_name(draft, rows.scope, counted)
    if field is None:
        return None
    places["field",] = draft.place_of(counted)
    if field == TIME:
        draft.refuse("HR406", f"{draft.written(node)!r}: ts is no property", node, _hint(function))
        return None
    where = rows.measure.where
    if function == "count":
        has_field = Compare(Property(field), "exists", True)
        draft.stands(has_field, {(): places["field",], ("property",): places["field",]})
        return Found(replace(rows.measure, where=and_also(where, has_field)), places)
    if function in ("first", "last"):
        if not _is_ordered(draft, rows, node, field):
            return None
        where = without_presence(where, field)
    return Found(replace(rows.measure, function=function, field=field, where=where), places)


def _is_ordered(draft: Draft, rows: Rows, node: exp.Expr, field: str) -> bool:
    """May ``min_by`` be the first value? It takes the first row, even if its value is NULL."""
    if not rows.scope.owns(node.expression, TIME):
        message = f"{draft.written(node)!r}: the second argument is ts"
        draft.refuse("HR406", message, node)
        return False
    if not needs(rows.measure.where, field):
        message = f"{draft.written(node)!r} is NULL when that row has no {field!r}"
        hint = f"add {field} IS NOT NULL to WHERE"
        draft.refuse("HR406", message, node, hint)
        return False
    return True


def _is_all(node: exp.Expr) -> bool:
    """``count(*)`` or ``count(1)``."""
    return isinstance(node, exp.Star | exp.Literal)


def _hint(function: Function) -> str:
    match function:
        case "distinct":
            return "condition('{event: .., days_active: true, ..}') counts days"
        case "min" | "max":
            return "write a window: WHERE ts > now() - INTERVAL 30 DAYS"
        case _:
            return ""


def mentions_users(node: exp.Expr) -> bool:
    """Does ``node`` ask about other statements?"""
    return any(_asks(part) for part in node.walk())


def _asks(node: exp.Expr) -> bool:
    return isinstance(node, exp.Exists) or (
        isinstance(node, exp.In) and node.args.get("query") is not None
    )
