"""Conditions of the model as SQL that is TRUE exactly when they hold.

Every text here is one that `logic` reads back as the same condition; where there is none, the
answer is None, and the statement says it by ``condition('{..}')``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlglot.tokenizer_core import TokenType

from headrace.rules.catalog import FieldType
from headrace.rules.model import (
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Measure,
    Not,
    Operator,
    Scalar,
    Subject,
)
from headrace.rules.sql.constants import constant_text, instant_text, quoted
from headrace.rules.sql.guard import tokens_of
from headrace.rules.sql.logic import NEVER_NULL, Verdict, compared, distinct_from, existence
from headrace.rules.sql.terms import MOST_ITEMS

SIGNS: Final[Mapping[Operator, str]] = {
    "eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "after": ">",
    "before": "<",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A subject as SQL names it, and its type where the catalog knows it."""

    text: str
    type: FieldType | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """A condition in SQL. ``parts`` joined by ``joint`` are its text; one part needs none."""

    parts: tuple[str, ...]
    joint: str = ""

    @property
    def text(self) -> str:
        """All of it in one line."""
        return f" {self.joint} ".join(self.parts)

    @property
    def operand(self) -> str:
        """As a part of something else."""
        return f"({self.text})" if self.joint else self.text


Columns: TypeAlias = Callable[[Subject], Column | None]
"""A subject -> how it is named at hand; None where it cannot be."""


def worded(condition: Condition, columns: Columns) -> Words | None:
    """``condition`` as SQL, or None when SQL has no words for it."""
    match condition:
        case AllOf((_, Compare() as last)) if _verdict(last).true == condition:
            return _one(_comparison(last, columns))
        case AllOf((_, Not(Compare() as last))) if _verdict(last).false == condition:
            return _one(_negated(last, columns))
        case AllOf(parts):
            return _joined(parts, "AND", columns)
        case AnyOf(parts):
            return _joined(parts, "OR", columns)
        case Not(part):
            inner = worded(part, columns)
            return _one(f"({inner.text}) IS NOT TRUE") if inner is not None else None
        case Compare():
            return _compare(condition, columns)
        case _:
            return None


def name_text(name: str) -> str | None:
    """A name bare, in backticks, or not at all."""
    if not name or not name.isascii() or not name.isprintable() or "`" in name:
        return None
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        (token,) = tokens_of(name)
        if token.token_type is TokenType.VAR:
            return name
    return f"`{name}`"


def _verdict(held: Compare) -> Verdict:
    return compared(held.subject, held.operator, held.value)


def _one(text: str | None) -> Words | None:
    return Words((text,)) if text is not None else None


def _joined(parts: tuple[Condition, ...], joint: str, columns: Columns) -> Words | None:
    if len(parts) < 2:
        return None
    texts = []
    for part in parts:
        words = worded(part, columns)
        if words is None:
            return None
        texts.append(words.operand)
    if joint == "OR" and len(texts) == 2 and _reads_as_one(parts):
        texts[1] = f"({texts[1]})"
    return Words(tuple(texts), joint)


def _reads_as_one(parts: tuple[Condition, ...]) -> bool:
    """Would ``x IS NULL OR x NOT IN (..)`` be read as one comparison?"""
    match parts:
        case (Compare(one, "exists", False), AllOf((_, Compare(other, operator)))):
            return one == other and operator in ("not_in", "not_contains")
        case _:
            return False


def _compare(held: Compare, columns: Columns) -> Words | None:
    column = columns(held.subject)
    if column is None:
        return None
    if held.operator == "exists" and _is_never_null(held.subject):
        return None
    if held == existence(held.subject).true:
        return _one(f"{column.text} IS NOT NULL")
    if held == existence(held.subject).false:
        return _one(f"{column.text} IS NULL")
    if compared(held.subject, held.operator, held.value).true == held:
        return _one(_comparison(held, columns))
    if isinstance(held.value, tuple) and held.operator != "not_in":
        return None
    if held.operator == "ne" and not isinstance(held.value, tuple):
        value = constant_text(held.value, column.type)
        if value is None or distinct_from(held.subject, held.value).true != held:
            return None
        return _one(f"{column.text} IS DISTINCT FROM {value}")
    is_missed = existence(held.subject).false == Compare(held.subject, "exists", False)
    if held.operator in ("not_in", "not_contains") and is_missed:
        text = _comparison(held, columns)
        return Words((f"{column.text} IS NULL", text), "OR") if text is not None else None
    return None


def _is_never_null(subject: Subject) -> bool:
    return isinstance(subject, Measure) and subject.function in NEVER_NULL


def _comparison(held: Compare, columns: Columns) -> str | None:
    """``held`` with SQL's operator of that name, whose TRUE may ask for more."""
    column = columns(held.subject)
    if column is None or held.operator == "exists":
        return None
    value = held.value
    if isinstance(value, tuple):
        return _of_many(column, held.operator, value)
    if held.operator in SIGNS:
        text = _held_against(column, held.operator, value)
        return f"{column.text} {SIGNS[held.operator]} {text}" if text is not None else None
    text = constant_text(value) if isinstance(value, str) else None
    if text is None:
        return None
    match held.operator:
        case "contains" | "not_contains" if column.type == "array<string>":
            negation = "NOT " if held.operator == "not_contains" else ""
            return f"{negation}array_contains({column.text}, {text})"
        case "matches":
            return f"{column.text} RLIKE {text}"
        case _:
            return _like(column, held.operator, str(value))


def _held_against(column: Column, operator: Operator, value: Scalar) -> str | None:
    """A constant, so written that it is read under the same operator."""
    is_moment = isinstance(value, Ago)
    if operator in ("after", "before"):
        return (
            instant_text(value)
            if isinstance(value, str)
            else (constant_text(value) if is_moment else None)
        )
    # A TIMESTAMP with > or < is read as after or before.
    kind = None if operator in ("gt", "lt") else column.type
    return constant_text(value, kind) if not is_moment else None


def _negated(held: Compare, columns: Columns) -> str | None:
    """SQL's NOT of ``held``."""
    text = _comparison(held, columns)
    if text is None:
        return None
    if held.operator in ("before", "after"):
        sign, opposite = ("<", ">=") if held.operator == "before" else (">", "<=")
        return text.replace(f" {sign} now()", f" {opposite} now()")
    if " LIKE " in text and held.operator in ("starts_with", "ends_with"):
        column = columns(held.subject)
        assert column is not None
        return f"{column.text} NOT{text.removeprefix(column.text)}"
    return f"NOT {text}"


def _like(column: Column, operator: Operator, value: str) -> str | None:
    if not value or any(sign in value for sign in "%_\\"):
        return None
    pattern = {
        "contains": f"%{value}%", "not_contains": f"%{value}%", "starts_with": f"{value}%",
        "ends_with": f"%{value}",
    }.get(operator)  # fmt: skip
    negation = "NOT " if operator == "not_contains" else ""
    return f"{column.text} {negation}LIKE {quoted(pattern)}" if pattern is not None else None


def _of_many(column: Column, operator: Operator, values: tuple[Scalar, ...]) -> str | None:
    texts = [constant_text(value, column.type) for value in values]
    shown = [text for text in texts if text is not None]
    if len(shown) < len(texts) or not 1 <= len(shown) <= MOST_ITEMS:
        return None
    listed = ", ".join(shown)
    match operator:
        case "in":
            return f"{column.text} IN ({listed})"
        case "not_in":
            return f"{column.text} NOT IN ({listed})"
        case "between" if len(shown) == 2:
            return f"{column.text} BETWEEN {shown[0]} AND {shown[1]}"
        case "contains_any":
            return f"arrays_overlap({column.text}, array({listed}))"
        case _:
            return None
