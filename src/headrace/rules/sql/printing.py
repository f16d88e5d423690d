"""Segments as canonical SQL: one text for one meaning, whatever the author's formatting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Final

from sqlglot.tokenizer_core import TokenType

from headrace.clock import format_instant
from headrace.errors import Place, Problem, RuleError
from headrace.rules.catalog import Catalog, EventType, FieldType
from headrace.rules.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Ever,
    InList,
    InSegment,
    Measure,
    Not,
    Property,
    Segment,
    Span,
    Subject,
    Trait,
    Window,
    Within,
    default_hop,
)
from headrace.rules.printer import print_condition
from headrace.rules.sql.columns import TIME, USER
from headrace.rules.sql.constants import instant_text, interval_text, quoted
from headrace.rules.sql.embedded import MOST_SIGNS, signs_in
from headrace.rules.sql.events import rows_of
from headrace.rules.sql.guard import DEEPEST, LONGEST, MOST_TOKENS, room_to_recurse, tokens_of
from headrace.rules.sql.header import print_header
from headrace.rules.sql.layout import Query, clause, in_parentheses, joined
from headrace.rules.sql.logic import COMPLEMENTS, ONE, holds_of_nobody, leaves
from headrace.rules.sql.statement import PROFILES, absent
from headrace.rules.sql.wording import Column, Words, name_text, worded

_STEPS: Final = {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}
_EVERYBODY: Final = f"SELECT {USER} FROM {PROFILES}"


def print_sql(segment: Segment, catalog: Catalog | None = None) -> str:
    """Canonical SQL of ``segment`` without its tests; reading it gives ``segment`` back.

    With the ``catalog``, arrays and timestamps are written as what they are. RuleError when the
    text would be longer than a rule in SQL may be.
    """
    if segment.sql:
        message = f"rule {segment.id!r} is SQL in batch, which the rule language has no words for"
        raise RuleError([Problem("HR419", message, Place(segment.id), "keep it in YAML")])
    with room_to_recurse():
        header = print_header(segment)
        text = header + "\n".join(_Printer(catalog or Catalog()).query(segment.condition).lines)
        if not _fits(text):
            text = header + "\n".join(_embedded(segment.condition).lines)
    if not _fits(text):
        message = f"rule {segment.id!r} is longer than a rule in SQL may be"
        raise RuleError([Problem("HR400", message, Place(segment.id), "keep it in YAML")])
    return text + "\n"


@dataclass(frozen=True, slots=True)
class _Printer:
    catalog: Catalog

    def query(self, condition: Condition) -> Query:
        """The statement that selects the users of ``condition``."""
        plain = self._plain(condition)
        if plain is not None:
            return plain
        match condition:
            case AllOf(parts) if len(parts) > 1:
                return self._narrowed(parts)
            case AnyOf(parts) if len(parts) > 1:
                operands = (self.query(part).operand for part in parts)
                return Query(joined(operands, "UNION"), is_set=True)
            case InSegment(name) if (text := quoted(name)) is not None:
                return Query((f"SELECT {USER} FROM segment({text})",))
            case InList(name) if (text := quoted(name)) is not None:
                return Query((f"SELECT {USER} FROM list({text})",))
        present = self._present(condition)
        if present is not None:
            return Query((_EVERYBODY, "EXCEPT", *self.query(present).operand), is_set=True)
        if isinstance(condition, Not):
            inner = in_parentheses(self.query(condition.part).lines)
            return Query((_EVERYBODY, f"WHERE {USER} NOT IN {inner[0]}", *inner[1:]))
        return _embedded(condition)

    def _narrowed(self, parts: tuple[Condition, ...]) -> Query:
        """INTERSECT, then EXCEPT: what is absent stands last, or in parentheses of its own."""
        absences = [None if self._plain(part) else self._present(part) for part in parts]
        last = max((n for n, present in enumerate(absences) if present is None), default=-1)
        lines: tuple[str, ...] = () if last >= 0 else (_EVERYBODY,)
        for number, (part, present) in enumerate(zip(parts, absences, strict=True)):
            if present is not None and number > last:
                lines = (*lines, "EXCEPT", *self.query(present).operand)
            else:
                lines = (*lines, *(("INTERSECT",) if lines else ()), *self.query(part).operand)
        return Query(lines, is_set=True)

    def _present(self, condition: Condition) -> Condition | None:
        """What ``condition`` is the absence of, if it is one."""
        if isinstance(condition, Not) and absent(condition.part) == condition:
            return condition.part
        for present in _opposites(condition):
            if absent(present) == condition and self._grouped(present) is not None:
                return present
        return None

    def _plain(self, condition: Condition) -> Query | None:
        """A single SELECT, if one says it."""
        return self._profiles(condition) or self._grouped(condition)

    def _profiles(self, condition: Condition) -> Query | None:
        """A statement about traits alone."""
        words = worded(condition, self._trait)
        if words is None:
            return None
        return Query((_EVERYBODY, *clause("WHERE", words)))

    def _trait(self, subject: Subject) -> Column | None:
        if not isinstance(subject, Trait) or subject.name == USER:
            return None
        known = self.catalog.traits.get(subject.name)
        return _column(name_text(subject.name), known.type if known else None)

    def _grouped(self, condition: Condition) -> Query | None:
        """A statement about the rows of one event type in one window, under one filter."""
        tried: list[Measure] = []
        for leaf in leaves(condition):
            if not isinstance(leaf.subject, Measure):
                return None
            rows = rows_of(leaf.subject)
            if rows is not None and rows not in tried:
                tried.append(rows)
        if holds_of_nobody(condition):
            return None
        return next(filter(None, (self._group(condition, rows) for rows in tried)), None)

    def _group(self, condition: Condition, rows: Measure) -> Query | None:
        having = worded(condition, partial(self._aggregate, rows))
        table = name_text(rows.event) if rows.event != PROFILES else None
        where = self._where(rows) if having is not None else None
        if table is None or where is None or having is None:
            return None
        head = (f"SELECT {USER} FROM {table}", *where)
        if condition == Compare(rows, "gte", ONE):
            return Query(head)
        return Query((*head, f"GROUP BY {USER}", *clause("HAVING", having)))

    def _where(self, rows: Measure) -> tuple[str, ...] | None:
        times = _times(rows.window)
        if times is None:
            return None
        if rows.where is None:
            return clause("WHERE", Words(times, "AND")) if times else ()
        words = worded(rows.where, partial(self._property, rows.event))
        if words is None:
            return None
        if not times:
            return clause("WHERE", words)
        parts = words.parts if words.joint == "AND" else (words.operand,)
        return clause("WHERE", Words((*times, *parts), "AND"))

    def _property(self, event: str, subject: Subject) -> Column | None:
        if not isinstance(subject, Property) or subject.name in (USER, TIME):
            return None
        known = self.catalog.events.get(event, EventType()).properties.get(subject.name)
        return _column(name_text(subject.name), known.type if known else None)

    def _aggregate(self, rows: Measure, subject: Subject) -> Column | None:
        if not isinstance(subject, Measure) or rows_of(subject) != rows:
            return None
        if subject.field is None:
            return Column("count(*)", "integer")
        field = self._property(rows.event, Property(subject.field))
        if field is None:
            return None
        match subject.function:
            case "distinct":
                return Column(f"count(DISTINCT {field.text})", "integer")
            case "first":
                return Column(f"min_by({field.text}, {TIME})", field.type)
            case "last":
                return Column(f"max_by({field.text}, {TIME})", field.type)
            case _:
                return Column(f"{subject.function}({field.text})", field.type)


def _opposites(condition: Condition) -> Iterable[Condition]:
    """What ``condition`` may be the absence of."""
    match condition:
        case Compare(Measure(function="count"), "eq", constant) if not constant:
            yield Compare(condition.subject, "gte", ONE)
        case Compare(Measure(), "exists", False):
            yield Compare(condition.subject, "exists", True)
        case Compare(Measure(), operator, value) if operator in COMPLEMENTS:
            yield Compare(condition.subject, COMPLEMENTS[operator], value)


def _times(window: Window) -> tuple[str, ...] | None:
    match window:
        case Ever():
            return ()
        case Within(length, hop) if hop == default_hop(length):
            return (f"{TIME} > now() - {interval_text(length)}",)
        case Span(start, end):
            ends = [(">=", start), *([("<", end)] if end is not None else [])]
            texts = [(sign, instant_text(format_instant(instant))) for sign, instant in ends]
            return tuple(f"{TIME} {sign} {text}" for sign, text in texts)
        case _:
            return None


def _column(text: str | None, kind: FieldType | None) -> Column | None:
    return Column(text, kind) if text is not None else None


def _embedded(condition: Condition) -> Query:
    """What SQL has no words for, as YAML; all that does not show is escaped there."""
    text = print_condition(condition).replace("'", "''")
    return Query((f"SELECT {USER} FROM condition('{text}')",))


def _fits(text: str) -> bool:
    """Would it be read?"""
    if len(text.encode()) >= LONGEST:
        return False
    yaml = "".join(line for line in text.split("\n") if "condition('" in line or line[:2] == "--")
    tokens = tokens_of(text)
    steps = (_STEPS.get(token.token_type, 0) for token in tokens)
    is_shallow = max(accumulate(steps)) <= DEEPEST
    return is_shallow and len(tokens) <= MOST_TOKENS and signs_in(yaml) <= MOST_SIGNS
