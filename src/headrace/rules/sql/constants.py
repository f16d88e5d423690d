"""Constants: texts, exact numbers, booleans, instants and lengths of time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from sqlglot import exp

from headrace.clock import parse_instant
from headrace.rules.catalog import FieldType
from headrace.rules.durations import format_duration, parse_duration
from headrace.rules.model import Ago, Scalar
from headrace.rules.printer import print_number
from headrace.rules.reading import LARGEST_EXPONENT
from headrace.rules.sql.draft import Draft

UNITS: Final = ("second", "minute", "hour", "day", "week")
_WITHOUT_ZONE: Final = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)", re.ASCII)
_CONSTANTS: Final = (
    exp.Literal, exp.Neg, exp.Boolean, exp.Null, exp.Cast, exp.Add, exp.Sub, exp.Interval,
    exp.CurrentTimestamp,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant; ``is_instant`` when the text says that it is one."""

    value: Scalar
    is_instant: bool = False


def is_constant(node: exp.Expr) -> bool:
    """Does ``node`` look like a constant rather than like a column?"""
    return isinstance(node, _CONSTANTS) or _is_now(node)


def read_constant(draft: Draft, node: exp.Expr) -> Constant | None:
    """The constant that ``node`` spells; None when it is refused."""
    match node:
        case exp.Literal(is_string=True):
            return Constant(str(node.this))
        case exp.Literal():
            return _number(draft, node, str(node.this))
        case exp.Neg() if type(node.this) is exp.Literal and not node.this.is_string:
            return _number(draft, node, f"-{node.this.this}")
        case exp.Boolean():
            return Constant(bool(node.this))
        case exp.Cast():
            return _instant(draft, node)
        case exp.Null():
            hint = "write IS NULL, IS NOT NULL or IS DISTINCT FROM"
            draft.refuse("HR409", "nothing compares with NULL", node, hint)
            return None
        case _:
            return _ago(draft, node)


def read_instant(constant: Constant) -> int:
    """The instant in ms. Only for what is one."""
    return parse_instant(str(constant.value))


def constant_text(value: Scalar, kind: FieldType | None = None) -> str | None:
    """A constant as SQL. As a timestamp only what reads back as the same text."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case Decimal():
            exponent = abs(int(value.as_tuple().exponent))
            text = print_number(value)
            return text if max(len(text), exponent) <= LARGEST_EXPONENT else None
        case str():
            instant = instant_text(value) if kind == "timestamp" else None
            return instant or quoted(value)
        case _:
            return _moment_text(value)


def quoted(text: str) -> str | None:
    """A text in single quotes; None when it has characters that do not show."""
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else None


def instant_text(text: str) -> str | None:
    """``TIMESTAMP '..'`` or ``DATE '..'`` of an instant as written."""
    try:
        parse_instant(text)
    except (ValueError, OverflowError):
        return None
    if re.search(r"\.\d{4}", text):
        return None
    return f"DATE '{text}'" if len(text) == 10 else f"TIMESTAMP '{text}'"


def interval_text(length: int) -> str:
    """``INTERVAL 30 DAYS``."""
    return f"INTERVAL {format_duration(length).upper()}"


def _number(draft: Draft, node: exp.Expr, text: str) -> Constant | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        draft.refuse("HR409", f"{draft.written(node)!r} is not a number", node)
        return None
    exponent = int(number.as_tuple().exponent)
    if len(number.as_tuple().digits) > LARGEST_EXPONENT or abs(exponent) > LARGEST_EXPONENT:
        draft.refuse("HR409", f"the number {draft.written(node)} is out of range", node)
        return None
    return Constant(number)


def _instant(draft: Draft, node: exp.Cast) -> Constant | None:
    kind, text = node.to.this, node.this
    if kind not in (exp.DType.TIMESTAMP, exp.DType.DATE) or not text.is_string:
        message = f"a cast is not part of the rule language: {draft.written(node)!r}"
        draft.refuse("HR403", message, node, "instants are TIMESTAMP '2026-01-31 09:00:00'")
        return None
    written = str(text.this)
    found = _WITHOUT_ZONE.fullmatch(written)
    instant = f"{found[1]}T{found[2]}Z" if found else written
    if kind is exp.DType.DATE and len(instant) != 10:
        draft.refuse("HR409", f"DATE {written!r} is no date such as '2026-01-31'", node)
        return None
    try:
        parse_instant(instant)
    except (ValueError, OverflowError):
        message = f"{written!r} is no instant such as '2026-01-31 09:00:00' (UTC)"
        draft.refuse("HR409", message, node)
        return None
    if re.search(r"\.\d{4}", instant):
        draft.refuse("HR409", f"{written!r} is finer than a millisecond", node)
        return None
    return Constant(instant, is_instant=True)


def _ago(draft: Draft, node: exp.Expr) -> Constant | None:
    """``now() - INTERVAL 3 DAYS``, or plus: a moment that moves."""
    if _is_now(node):
        return Constant(Ago(0))
    if isinstance(node, exp.Sub | exp.Add) and _is_now(node.this):
        length = _length(draft, node.expression)
        if length is None:
            return None
        return Constant(Ago(length if isinstance(node, exp.Sub) else -length))
    hint = "constants are 'texts', numbers, TRUE, FALSE, TIMESTAMP '..', now() - INTERVAL 3 DAYS"
    message = f"{draft.written(node)!r} is not a constant of the rule language"
    draft.refuse("HR409", message, node, hint)
    return None


def _is_now(node: exp.Expr) -> bool:
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower() == "now" and not node.expressions
    return isinstance(node, exp.CurrentTimestamp)


def _length(draft: Draft, node: exp.Expr) -> int | None:
    if not isinstance(node, exp.Interval) or not isinstance(node.args.get("unit"), exp.Var):
        message = f"{draft.written(node)!r} is not a length of time such as INTERVAL 3 DAYS"
        draft.refuse("HR409", message, node)
        return None
    count, unit = str(node.this.this) if node.this else "", str(node.args["unit"].this).lower()
    if unit.removesuffix("s") not in UNITS:
        message = (
            f"INTERVAL {count} {unit.upper()}: lengths are in seconds, minutes, hours, days, weeks"
        )
        hint = "months and years differ in length: count days"
        draft.refuse("HR409", message, node, hint)
        return None
    try:
        return parse_duration(f"{count} {unit}")
    except ValueError as error:
        draft.refuse("HR409", str(error), node)
        return None


def _moment_text(moment: Ago) -> str:
    if not moment.length:
        return "now()"
    sign = "-" if moment.length > 0 else "+"
    return f"now() {sign} {interval_text(abs(moment.length))}"
