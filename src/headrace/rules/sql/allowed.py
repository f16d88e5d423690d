"""What a tree may be made of: every kind of node, and the arguments it may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from headrace.rules.sql.plain import PAIR, PLAIN

ALLOWED: Final[Mapping[type[exp.Expr], tuple[str, ...]]] = {
    # statements
    exp.Select: ("expressions", "distinct", "from_", "where", "group", "having"),
    exp.Subquery: ("this",),
    exp.Union: (*PAIR, "distinct"),
    exp.Intersect: (*PAIR, "distinct"),
    exp.Except: (*PAIR, "distinct"),
    # logic and comparisons
    **PLAIN,
    exp.In: ("this", "expressions", "query"),
    exp.RegexpLike: PAIR,
    exp.Exists: ("this",),
    exp.ArrayContains: PAIR,
    # what is compared
    exp.Count: ("this", "big_int"),
    exp.Sum: ("this",),
    exp.Avg: ("this",),
    exp.Min: ("this",),
    exp.Max: ("this",),
    exp.ArgMin: PAIR,
    exp.ArgMax: PAIR,
    # constants; functions of any other name are refused where they are read
    exp.Neg: ("this",),
    exp.Cast: ("this", "to"),
    exp.DataType: ("this", "nested"),
    exp.Interval: ("this", "unit"),
    exp.Var: ("this",),
    exp.Add: PAIR,
    exp.Sub: PAIR,
    exp.CurrentTimestamp: (),
    exp.Array: ("expressions",),
    exp.List: ("expressions",),
    exp.Anonymous: ("this", "expressions"),
}

FUNCTIONS: Final = ("now", "arrays_overlap", "segment", "list", "condition")
"""Functions that the parser knows by no class of their own."""

FORBIDDEN_WORDS: Final = frozenset({"CAST", "TRY_CAST", "SAFE_CAST", "CONVERT"})
"""Functions that the tree does not tell from literals."""

HINTS: Final[Mapping[str, str]] = {
    "JOIN": "combine users: INTERSECT, UNION, EXCEPT, user_id IN (SELECT ..)",
    "ON": "",
    "USING": "",
    "ORDER BY": "a rule is a set of users",
    "CASE": "write the cases with AND and OR",
}
"""What to do instead of a word that the parser would not even take as a name."""

_FORM: Final = "condition('{..}') takes what SQL lacks, as YAML"
_WORDS: Final[Mapping[type[exp.Expr], tuple[str, str]]] = {
    exp.Join: ("a join", "combine users: INTERSECT, UNION, EXCEPT, user_id IN (SELECT ..)"),
    exp.With: ("WITH", "write the inner statement where it is used"),
    exp.Window: ("a window function", _FORM),
    exp.Limit: ("LIMIT", "a rule has all users that it fits; condition('{sample: ..}') takes some"),
    exp.Offset: ("OFFSET", ""),
    exp.Order: ("ORDER BY", "a rule is a set of users"),
    exp.Case: ("CASE", "write the cases with AND and OR"),
    exp.If: ("IF", "write the cases with AND and OR"),
    exp.Hint: ("a hint", ""),
    exp.Alias: ("a new name for a column", "only tables take one"),
    exp.ILike: ("ILIKE", "use RLIKE '(?i)..'"),
    exp.Escape: ("ESCAPE", "use RLIKE for other patterns"),
    exp.Filter: ("FILTER", "put it into WHERE; INTERSECT combines two statements"),
    exp.Placeholder: ("a placeholder", "write the constant"),
    exp.Parameter: ("a parameter", "write the constant"),
    exp.Command: ("a command", ""),
    exp.Concat: ("a text after a text", "write a quote inside a text twice: 'it''s'"),
    exp.Mul: ("arithmetic", "compute the constant"),
    exp.Div: ("arithmetic", "compute the constant"),
    exp.Mod: ("arithmetic", "compute the constant"),
    exp.Tuple: ("a list of values in parentheses", "it may follow IN alone"),
    exp.Rand: ("rand()", "condition('{sample: {percent: 10}}') takes a stable part of all users"),
}


_ARGUMENTS: Final[Mapping[str, str]] = {
    "db": "a path or database before a table",
    "catalog": "a catalog before a table",
    "alias": "a name for a statement",
    "expressions": "a second argument",
    "by_name": "BY NAME",
    "count": "a number of results",
}


def argument_named(name: str) -> str:
    """What the argument ``name`` of a node is to its author."""
    return _ARGUMENTS.get(name, name.strip("_").upper())


def named(node: exp.Expr) -> tuple[str, str]:
    """What ``node`` is to its author, and what to do instead."""
    if isinstance(node, exp.Anonymous):
        return f"the function {str(node.this).lower()}()", _FORM
    found = _WORDS.get(type(node))
    if found is not None:
        return found
    if isinstance(node, exp.Func):
        return f"the function {node.sql_name().lower()}()", _FORM
    return "".join(f" {c}" if c.isupper() else c for c in type(node).__name__).strip().upper(), ""
