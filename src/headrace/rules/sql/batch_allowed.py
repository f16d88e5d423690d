"""What SQL in batch may be made of: every kind of node, its arguments, and the words in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from headrace.rules.sql.plain import PAIR, PLAIN

VIEWS: Final[Mapping[str, tuple[str, ...]]] = {
    "events": ("user_id", "event_id", "type", "ts", "properties"),
    "profiles": ("user_id", "traits", "first_seen"),
}
"""The tables there are, and their columns; ``properties`` and ``traits`` are JSON texts."""

NODES: Final[Mapping[type[exp.Expr], tuple[str, ...]]] = {
    # statements
    exp.Select: ("expressions", "distinct", "from_", "joins", "where", "group", "having", "with_"),
    exp.With: ("expressions",),
    exp.CTE: ("this", "alias"),
    exp.Subquery: ("this", "alias"),
    exp.Join: ("this", "side", "kind", "on", "using"),
    exp.Alias: ("this", "alias"),
    # logic and comparisons
    **PLAIN,
    exp.In: ("this", "expressions"),
    exp.Case: ("this", "ifs", "default"),
    exp.If: ("this", "true", "false"),
    # values
    exp.Neg: ("this",),
    exp.Add: PAIR,
    exp.Sub: PAIR,
    exp.Mul: PAIR,
    exp.Div: (*PAIR, "typed", "safe"),
    exp.Mod: PAIR,
    exp.Cast: ("this", "to"),
    exp.TryCast: ("this", "to", "safe"),
    exp.DataType: ("this", "expressions", "nested"),
    exp.DataTypeParam: ("this",),
    exp.Interval: ("this", "unit"),
    exp.Var: ("this",),
    # functions of rows
    exp.CurrentTimestamp: (),
    exp.TimestampTrunc: ("this", "unit"),
    exp.DateDiff: (*PAIR, "unit"),
    exp.TsOrDsToDate: ("this", "safe"),
    exp.Lower: ("this",),
    exp.Upper: ("this",),
    exp.Trim: ("this",),
    exp.Length: ("this",),
    exp.Substring: ("this", "start", "length"),
    exp.Concat: ("expressions", "safe", "coalesce"),
    exp.Coalesce: ("this", "expressions"),
    exp.JSONExtractScalar: PAIR,
    exp.JSONPath: ("expressions",),
    exp.JSONPathRoot: (),
    exp.JSONPathKey: ("this",),
    exp.JSONPathSubscript: ("this",),
    # functions of groups and windows
    exp.Count: ("this", "expressions", "big_int"),
    exp.Sum: ("this",),
    exp.Avg: ("this",),
    exp.Min: ("this",),
    exp.Max: ("this",),
    exp.ApproxQuantile: ("this", "quantile", "accuracy"),
    exp.Window: ("this", "partition_by", "order", "spec", "over"),
    exp.WindowSpec: ("kind", "start", "start_side", "end", "end_side"),
    exp.Order: ("expressions",),
    exp.Ordered: ("this", "desc", "nulls_first"),
    exp.RowNumber: (),
    exp.Rank: (),
    exp.Lag: ("this", "offset", "default"),
    exp.Lead: ("this", "offset", "default"),
}

WINDOWED: Final = (exp.RowNumber, exp.Rank, exp.Lag, exp.Lead, exp.Sum, exp.Count, exp.Avg)
"""Functions that may stand before OVER."""

ONLY_WINDOWED: Final = (exp.RowNumber, exp.Rank, exp.Lag, exp.Lead)

FUNCTIONS: Final = (
    "now", "date_trunc", "datediff", "lower", "upper", "trim", "length", "substr", "concat",
    "coalesce", "get_json_object", "count", "sum", "avg", "min", "max", "percentile_approx",
    "row_number", "rank", "lag", "lead",
)  # fmt: skip
"""Their names, for whoever misspells one."""

TYPES: Final = frozenset({
    exp.DType.TEXT, exp.DType.INT, exp.DType.BIGINT, exp.DType.FLOAT, exp.DType.DOUBLE,
    exp.DType.DECIMAL, exp.DType.BOOLEAN, exp.DType.DATE, exp.DType.TIMESTAMP,
    exp.DType.TIMESTAMPTZ,
})  # fmt: skip

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_NUMBER: Final = re.compile(r"[0-9]{0,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?")
_UNIT: Final = re.compile("(?i)(second|minute|hour|day|week|month|quarter|year)s?")
_SIDE: Final = re.compile("(?i)preceding|following")
_EDGE: Final = re.compile("(?i)unbounded|current row")

WORDS: Final[Mapping[tuple[type[exp.Expr], str], re.Pattern[str]]] = {
    (exp.Identifier, "this"): _NAME,
    (exp.JSONPathKey, "this"): _NAME,
    (exp.Var, "this"): _UNIT,
    (exp.Join, "side"): re.compile("(?i)left"),
    (exp.Join, "kind"): re.compile("(?i)inner|outer"),
    (exp.Window, "over"): re.compile("(?i)over"),
    (exp.WindowSpec, "kind"): re.compile("(?i)rows|range"),
    (exp.WindowSpec, "start"): _EDGE,
    (exp.WindowSpec, "end"): _EDGE,
    (exp.WindowSpec, "start_side"): _SIDE,
    (exp.WindowSpec, "end_side"): _SIDE,
}
"""Texts that a tree holds beside its nodes, and that are written out as they are."""


def is_sound_literal(node: exp.Literal) -> bool:
    """A number, or a text that shows all it has.

    A backslash means two things, and Spark would put a variable in the place of ``${..}``.
    """
    text = str(node.this)
    if node.is_string:
        return text.isprintable() and "\\" not in text and "${" not in text
    return any(sign.isdigit() for sign in text) and _NUMBER.fullmatch(text) is not None


def is_plain_like(pattern: str) -> bool:
    """Does the pattern match in one pass? Two ``%`` only around a text, then without ``_``."""
    count = pattern.count("%")
    if count < 2:
        return True
    return count == 2 and "_" not in pattern and len(pattern) > 2 and pattern[0] == pattern[-1]
