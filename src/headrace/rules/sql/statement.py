"""Statements -> conditions: each SELECT is a set of users, combined as sets and by membership."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Final

from sqlglot import exp

from headrace.rules.model import AllOf, AnyOf, Compare, Condition, Measure, Not, Sample, Trait
from headrace.rules.sql.columns import USER, Scope, column_name
from headrace.rules.sql.draft import Draft
from headrace.rules.sql.embedded import read_source
from headrace.rules.sql.events import AGGREGATES, mentions_users, read_having, read_rows
from headrace.rules.sql.logic import (
    COMPLEMENTS,
    NEVER_NULL,
    ONE,
    ZERO,
    Verdict,
    chain,
    conjunction,
    judged,
)
from headrace.rules.sql.terms import Found, judge_term

PROFILES: Final = "profiles"
EVERYBODY: Final = Sample(Decimal(100))
"""``SELECT user_id FROM profiles``: told from a sample that somebody wrote by its identity."""


def read_query(draft: Draft, node: exp.Expr) -> Condition | None:
    """The users that ``node`` selects; None when all of it was refused."""
    match node:
        case exp.Subquery():
            return read_query(draft, node.this)
        case exp.Union():
            read = [read_query(draft, part) for part in chain(node, exp.Union)]
            parts = tuple(part for part in read if part is not None)
            return AnyOf(parts) if parts else None
        case exp.Intersect() | exp.Except():
            return _narrowed(draft, node)
        case exp.Select():
            return _select(draft, node)
        case _:
            draft.refuse("HR401", f"expected SELECT, not {draft.written(node)!r}", node)
            return None


def absent(condition: Condition) -> Condition:
    """``EXCEPT``: everybody else, as one comparison where one says the same."""
    match condition:
        case Compare(Measure(function="count"), "gte", constant) if constant == ONE:
            return Compare(condition.subject, "eq", ZERO)
        case Compare(Measure(function=function), operator, value):
            is_counted = function in (*NEVER_NULL, "sum")
            opposite = COMPLEMENTS.get(operator)
            if opposite is not None and (is_counted or opposite in ("ne", "not_in")):
                return Compare(condition.subject, opposite, value)
            if operator == "exists" and value is True and not is_counted:
                return Compare(condition.subject, "exists", False)
    return Not(condition)


def _narrowed(draft: Draft, node: exp.Expr) -> Condition | None:
    """``a INTERSECT b EXCEPT c``."""
    parts: list[Condition | None] = []
    while isinstance(node, exp.Intersect | exp.Except):
        if not node.args.get("distinct"):
            hint = "a user is selected or not, never twice"
            draft.refuse("HR403", "ALL is not part of the rule language here", node, hint)
        right = read_query(draft, node.expression)
        if right is not None and isinstance(node, exp.Except):
            left, right = right, absent(right)
            draft.inherits(right, left)
        parts.append(right)
        node = node.this
    parts.append(read_query(draft, node))
    kept = tuple(part for part in reversed(parts) if part is not None and part is not EVERYBODY)
    if len(kept) < 2:
        return kept[0] if kept else EVERYBODY if EVERYBODY in parts else None
    return AllOf(kept)


def _select(draft: Draft, node: exp.Select, outer: str | None = None) -> Condition | None:
    table = node.args["from_"].this if node.args.get("from_") else None
    if not isinstance(table, exp.Table):
        what = "FROM" if table is None else "a table, not a statement, after FROM"
        hint = "user_id IN (SELECT ..) or INTERSECT combine statements" if table else ""
        draft.refuse("HR405", f"a SELECT needs {what}", node, hint)
        return None
    scope = Scope(table.alias or table.name, outer)
    where = node.args.get("where")
    terms = chain(where.this, exp.And) if where is not None else []
    _check_columns(draft, scope, node)
    terms = _untied(draft, scope, node, terms) if outer is not None else terms
    members = partial(_member, draft, scope)
    if isinstance(table.this, exp.Identifier) and table.name != PROFILES:
        asks = [(mentions_users(term), term) for term in terms]
        asking = [judged(term, members) for is_asking, term in asks if is_asking]
        rows = read_rows(draft, scope, table, [term for is_asking, term in asks if not is_asking])
        _check_group(draft, scope, node)
        read = read_having(draft, rows, node.args.get("having"))
        parts = [read, *(verdict.true for verdict in asking if verdict is not None)]
    else:
        _refuse_group(draft, node)
        base = None if isinstance(table.this, exp.Identifier) else read_source(draft, table.this)
        leaf = members if base is not None else partial(_trait_or_member, draft, scope)
        verdict = conjunction([judged(term, leaf) for term in terms])
        if isinstance(table.this, exp.Identifier) and not terms:
            return EVERYBODY
        parts = [base, verdict.true if verdict is not None else None]
    kept = tuple(part for part in parts if part is not None)
    return AllOf(kept) if len(kept) > 1 else next(iter(kept), None)


def _check_columns(draft: Draft, scope: Scope, node: exp.Select) -> None:
    columns = node.expressions
    if scope.outer is not None:
        # Only whether there is a row counts; but an aggregate makes one where there is none.
        columns = [column for column in columns if type(column) not in (exp.Star, exp.Literal)]
        if not columns and node.expressions:
            return
    if len(columns) != 1 or not scope.owns(columns[0], USER):
        wrong = next((column for column in columns if not scope.owns(column, USER)), node)
        message = f"a rule selects user_id, not {draft.written(wrong)!r}"
        draft.refuse("HR406", message, wrong if columns else node, "SELECT user_id FROM ..")


def _check_group(draft: Draft, scope: Scope, node: exp.Select) -> None:
    group = node.args.get("group")
    if group is not None:
        keys = group.expressions
        if len(keys) != 1 or not scope.owns(keys[0], USER):
            wrong = next((key for key in keys if not scope.owns(key, USER)), group)
            message = f"rows are grouped by user_id, not by {draft.written(wrong)!r}"
            draft.refuse("HR406", message, wrong)
    elif node.args.get("having") is not None:
        draft.refuse("HR406", "HAVING needs GROUP BY user_id", node.args["having"])


def _refuse_group(draft: Draft, node: exp.Select) -> None:
    for clause in ("group", "having"):
        if node.args.get(clause) is not None:
            message = "only events are grouped: there is one row a user here"
            draft.refuse("HR406", message, node.args[clause])


def _untied(draft: Draft, scope: Scope, node: exp.Select, terms: list[exp.Expr]) -> list[exp.Expr]:
    """The terms of an EXISTS beside the one that ties it to the statement around."""
    others = [term for term in terms if not scope.ties(term)]
    if len(others) + 1 != len(terms) or scope.table == scope.outer:
        message = "EXISTS needs WHERE that ties its user to the one around"
        hint = "FROM profiles p WHERE EXISTS (SELECT 1 FROM purchase x WHERE x.user_id = p.user_id)"
        draft.refuse("HR411", message, node, hint)
    return others


def _member(draft: Draft, scope: Scope, node: exp.Expr) -> Verdict | None:
    """``user_id IN (SELECT ..)`` or EXISTS: never NULL, for a user always has an id."""
    found: Condition | None
    match node:
        case exp.Exists(this=exp.Select()):
            found = _select(draft, node.this, outer=scope.table)
        case exp.In() if node.args.get("query") is not None and scope.owns(node.this, USER):
            found = read_query(draft, node.args["query"])
        case _:
            message = f"{draft.written(node)!r} does not ask about users"
            hint = "user_id IN (SELECT ..) or EXISTS (SELECT ..), joined to others by AND"
            draft.refuse("HR411", message, node, hint)
            return None
    return Verdict(found, Not(found)) if found is not None else None


def _trait_or_member(draft: Draft, scope: Scope, node: exp.Expr) -> Verdict | None:
    if isinstance(node, exp.Exists) or node.args.get("query") is not None:
        return _member(draft, scope, node)
    return judge_term(draft, node, partial(_trait, draft, scope))


def _trait(draft: Draft, scope: Scope, node: exp.Expr) -> Found | None:
    if isinstance(node, tuple(AGGREGATES)):
        hint = "aggregates are of events: SELECT user_id FROM purchase GROUP BY user_id HAVING .."
        draft.refuse("HR406", f"profiles have one row a user: {draft.written(node)!r}", node, hint)
        return None
    name = column_name(draft, scope, node)
    if name is None:
        return None
    place = draft.place_of(node)
    return Found(Trait(name), {(): place, ("trait",): place, ("operator",): place})
