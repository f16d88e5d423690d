"""Nodes that rules and statements in batch are both made of, and the arguments they may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlglot import exp

PAIR: Final = ("this", "expression")

PLAIN: Final[Mapping[type[exp.Expr], tuple[str, ...]]] = {
    # statements
    exp.Distinct: ("expressions",),
    exp.From: ("this",),
    exp.Table: ("this", "alias"),
    exp.TableAlias: ("this",),
    exp.Where: ("this",),
    exp.Group: ("expressions",),
    exp.Having: ("this",),
    # logic and comparisons
    exp.And: PAIR,
    exp.Or: PAIR,
    exp.Not: ("this",),
    exp.Paren: ("this",),
    exp.EQ: PAIR,
    exp.NEQ: PAIR,
    exp.GT: PAIR,
    exp.GTE: PAIR,
    exp.LT: PAIR,
    exp.LTE: PAIR,
    exp.NullSafeEQ: PAIR,
    exp.NullSafeNEQ: PAIR,
    exp.Is: (*PAIR, "negate"),
    exp.Between: ("this", "low", "high"),
    exp.Like: (*PAIR, "negate"),
    # names and constants
    exp.Identifier: ("this", "quoted"),
    exp.Column: ("this", "table"),
    exp.Star: (),
    exp.Literal: ("this", "is_string"),
    exp.Boolean: ("this",),
    exp.Null: (),
}
