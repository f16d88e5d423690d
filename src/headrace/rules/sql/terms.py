"""One comparison of a subject with constants: ``=``, IN, BETWEEN, LIKE, RLIKE, IS and the like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from sqlglot import exp

from headrace.errors import Place
from headrace.rules.model import Ago, AnyOf, Compare, Measure, Operator, Subject, Value
from headrace.rules.source import Path
from headrace.rules.sql.constants import Constant, is_constant, read_constant
from headrace.rules.sql.draft import Draft
from headrace.rules.sql.logic import (
    NEVER_NULL,
    Verdict,
    compared,
    distinct_from,
    existence,
    leaves,
)

MOST_ITEMS: Final = 1_000

_OPERATORS: Final[Mapping[type[exp.Expr], Operator]] = {
    exp.EQ: "eq", exp.NEQ: "ne", exp.GT: "gt", exp.GTE: "gte", exp.LT: "lt", exp.LTE: "lte",
}  # fmt: skip
_MIRRORED: Final[Mapping[Operator, Operator]] = {
    "eq": "eq", "ne": "ne", "gt": "lt", "gte": "lte", "lt": "gt", "lte": "gte",
}  # fmt: skip
COMPARISONS: Final = (*_OPERATORS, exp.NullSafeEQ, exp.NullSafeNEQ)


@dataclass(frozen=True, slots=True)
class Found:
    """A subject, and where its parts stand."""

    subject: Subject
    places: Mapping[Path, Place]


Resolve: TypeAlias = Callable[[exp.Expr], Found | None]
"""A column or aggregate -> what it is in the model; None when it was refused."""


def sides(node: exp.Expr) -> tuple[exp.Expr, exp.Expr, bool]:
    """Subject, constant, and whether they stand the other way round."""
    left, right = node.args["this"], node.args["expression"]
    if is_constant(left) and not is_constant(right):
        return right, left, True
    return left, right, False


def operator_of(node: exp.Expr, *, is_mirrored: bool) -> Operator:
    """``gt`` of ``>``, seen from the subject."""
    operator = _OPERATORS[type(node)]
    return _MIRRORED[operator] if is_mirrored else operator


def judge_term(draft: Draft, node: exp.Expr, resolve: Resolve) -> Verdict | None:
    """The verdict on one comparison; None when it is refused."""
    match node:
        case exp.In():
            return _in(draft, node, resolve)
        case exp.Is():
            return _is_null(draft, node, resolve)
        case exp.Between():
            return _with(draft, node, resolve, "between", [node.args["low"], node.args["high"]])
        case exp.Like():
            return _like(draft, node, resolve)
        case exp.RegexpLike():
            return _with(draft, node, resolve, "matches", [node.expression])
        case exp.ArrayContains():
            return _with(draft, node, resolve, "contains", [node.expression])
        case exp.Anonymous():
            return _overlap(draft, node, resolve)
        case exp.Column():
            return _flag(draft, node, resolve)
        case _ if isinstance(node, COMPARISONS):
            return _compare(draft, node, resolve)
        case _:
            message = f"expected a comparison, not {draft.written(node)!r}"
            draft.refuse("HR408", message, node)
            return None


def _compare(draft: Draft, node: exp.Expr, resolve: Resolve) -> Verdict | None:
    left, right, is_mirrored = sides(node)
    if not is_constant(right):
        message = f"{draft.written(node)!r} compares two columns"
        hint = "a column is compared with a constant; texts stand in single quotes"
        draft.refuse("HR408", message, node, hint)
        return None
    if is_constant(left):
        draft.refuse("HR408", f"{draft.written(node)!r} compares no column", node)
        return None
    found, constant = resolve(left), read_constant(draft, right)
    if found is None or constant is None:
        return None
    places = {**found.places, ("value",): draft.place_of(right)}
    if isinstance(node, exp.NullSafeEQ | exp.NullSafeNEQ):
        apart = distinct_from(found.subject, constant.value)
        verdict = ~apart if isinstance(node, exp.NullSafeEQ) else apart
    else:
        operator = operator_of(node, is_mirrored=is_mirrored)
        verdict = compared_with(found.subject, operator, constant)
    return _placed(draft, verdict, places)


def compared_with(subject: Subject, operator: Operator, constant: Constant) -> Verdict:
    """``subject operator constant``; an instant is after or before another."""
    moves = isinstance(constant.value, Ago)
    if operator in ("gt", "lt") and (constant.is_instant or moves):
        return compared(subject, "after" if operator == "gt" else "before", constant.value)
    if operator in ("gte", "lte") and (constant.is_instant or moves):
        return ~compared(subject, "before" if operator == "gte" else "after", constant.value)
    return compared(subject, operator, constant.value)


def _with(
    draft: Draft,
    node: exp.Expr,
    resolve: Resolve,
    operator: Operator,
    constants: list[exp.Expr],
    *,
    is_list: bool = False,
) -> Verdict | None:
    found = resolve(node.args["this"])
    read = [read_constant(draft, constant) for constant in constants]
    values = tuple(constant.value for constant in read if constant is not None)
    if found is None or len(values) < len(constants):
        return None
    is_one = operator != "between" and not is_list
    places = {**found.places, ("value",): draft.place_of(constants[0])}
    if not is_one:
        for number, constant in enumerate(constants):
            places["value", number] = draft.place_of(constant)
    value: Value = values[0] if is_one else values
    verdict = compared(found.subject, operator, value)
    if operator == "between" and all(
        constant is not None and constant.is_instant for constant in read
    ):
        low, high = values
        outside = (Compare(found.subject, "before", low), Compare(found.subject, "after", high))
        verdict = replace(verdict, false=AnyOf(outside))
    return _placed(draft, verdict, places)


def _in(draft: Draft, node: exp.In, resolve: Resolve) -> Verdict | None:
    items = node.expressions
    if node.args.get("query") is not None:
        hint = "user_id IN (SELECT ..) asks whether a user is among others"
        draft.refuse("HR411", "a column is looked up among constants here", node, hint)
        return None
    if not items:
        draft.refuse("HR401", "not SQL: expected values in parentheses after IN", node)
        return None
    if len(items) > MOST_ITEMS:
        message = f"{len(items):,} values in a list, {MOST_ITEMS:,} are allowed"
        draft.refuse("HR400", message, items[0], "put long lists of users under lists")
        return None
    null = next((item for item in items if isinstance(item, exp.Null)), None)
    if null is not None:
        message = "NULL in a list: IN never finds it, and NOT IN is never true with it"
        draft.refuse("HR409", message, node, "remove it, or add IS NULL")
        return None
    return _with(draft, node, resolve, "in", items, is_list=True)


def _is_null(draft: Draft, node: exp.Is, resolve: Resolve) -> Verdict | None:
    if not isinstance(node.expression, exp.Null):
        draft.refuse("HR408", f"IS takes NULL, TRUE or FALSE: {draft.written(node)!r}", node)
        return None
    found = resolve(node.this)
    if found is None:
        return None
    if isinstance(found.subject, Measure) and found.subject.function in NEVER_NULL:
        draft.refuse("HR408", f"{draft.written(node.this)} is never NULL", node)
        return None
    present = existence(found.subject)
    return _placed(draft, present if node.args.get("negate") else ~present, found.places)


def _like(draft: Draft, node: exp.Like, resolve: Resolve) -> Verdict | None:
    pattern = node.expression
    text = str(pattern.this) if isinstance(pattern, exp.Literal) and pattern.is_string else None
    if text is None:
        draft.refuse("HR410", f"LIKE takes a text: {draft.written(node)!r}", node)
        return None
    inner = text.removeprefix("%").removesuffix("%") if len(text) > 1 else text
    if any(sign in inner for sign in "%_\\") or (not inner and text):
        message = f"LIKE {text!r}: only 'x', 'x%', '%x' and '%x%' are part of the rule language"
        draft.refuse("HR410", message, pattern, "use RLIKE for other patterns")
        return None
    operators: Mapping[tuple[bool, bool], Operator] = {
        (False, False): "eq", (False, True): "starts_with", (True, False): "ends_with",
        (True, True): "contains",
    }  # fmt: skip
    found = resolve(node.this)
    if found is None:
        return None
    operator = operators[text.startswith("%"), text.endswith("%")]
    places = {**found.places, ("value",): draft.place_of(pattern)}
    verdict = compared(found.subject, operator, inner)
    return _placed(draft, ~verdict if node.args.get("negate") else verdict, places)


def _overlap(draft: Draft, node: exp.Anonymous, resolve: Resolve) -> Verdict | None:
    name = str(node.this).lower()
    if name != "arrays_overlap" or len(node.expressions) != 2:
        hint = "use RLIKE" if name.startswith("regexp") else ""
        message = f"the function {name}() is not part of the rule language"
        draft.refuse("HR403", message, node, hint)
        return None
    column, array = node.expressions
    if not isinstance(array, exp.Array) or not array.expressions:
        hint = "arrays_overlap(tags, array('a', 'b'))"
        draft.refuse("HR408", "arrays_overlap() takes a column and an array", node, hint)
        return None
    found = resolve(column)
    read = [read_constant(draft, item) for item in array.expressions]
    values = tuple(constant.value for constant in read if constant is not None)
    if found is None or len(values) < len(read):
        return None
    places = {**found.places, ("value",): draft.place_of(array)}
    return _placed(draft, compared(found.subject, "contains_any", values), places)


def _flag(draft: Draft, node: exp.Expr, resolve: Resolve) -> Verdict | None:
    """A boolean column by itself."""
    found = resolve(node)
    if found is None:
        return None
    verdict = Verdict(Compare(found.subject, "eq", True), Compare(found.subject, "eq", False))
    return _placed(draft, verdict, found.places)


def _placed(draft: Draft, verdict: Verdict, places: Mapping[Path, Place]) -> Verdict:
    for condition in (verdict.true, verdict.false):
        for leaf in leaves(condition):
            draft.stands(leaf, places)
    return verdict
