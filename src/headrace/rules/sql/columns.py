"""Which table a column belongs to: rules name at most the table at hand and the one around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from headrace.rules.source import did_you_mean
from headrace.rules.sql.draft import Draft

USER: Final = "user_id"
TIME: Final = "ts"


@dataclass(frozen=True, slots=True)
class Scope:
    """One SELECT: what its table is called, and the one around an EXISTS."""

    table: str
    outer: str | None = None

    def owns(self, node: exp.Expr, name: str) -> bool:
        """Is ``node`` the column ``name`` of this table?"""
        return _is_column(node, name) and node.text("table") in ("", self.table)

    def ties(self, node: exp.Expr) -> bool:
        """Does ``node`` say that the user is the same as in the table around?"""
        if not isinstance(node, exp.EQ) or self.outer is None:
            return False
        sides = (node.this, node.expression)
        return any(
            self.owns(inner, USER) and _is_column(outer, USER) and outer.text("table") == self.outer
            for inner, outer in (sides, sides[::-1])
        )


def column_name(draft: Draft, scope: Scope, node: exp.Expr) -> str | None:
    """The name of a property or trait; None when ``node`` is no such column."""
    if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier):
        message = f"expected a column, not {draft.written(node)!r}"
        draft.refuse("HR408", message, node)
        return None
    name, table = node.name, node.text("table")
    if table and table != scope.table:
        message = f"unknown table {table!r} of column {name!r}"
        hint = did_you_mean(table, (scope.table,)) or f"the table here is {scope.table!r}"
        draft.refuse("HR405", message, node, hint)
        return None
    if name == USER:
        hint = "users are named by a list: SELECT user_id FROM list('..')"
        draft.refuse("HR411", "user_id is compared with no constant", node, hint)
        return None
    return name


def _is_column(node: exp.Expr, name: str) -> bool:
    return (
        isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier) and node.name == name
    )
