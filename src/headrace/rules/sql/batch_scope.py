"""Which columns a statement in batch may name, and that users are joined by who they are.

``user_id`` is the user's id wherever it stands: no other value takes that name. So a join on it
meets the rows of one user alone, and what a statement gives are users.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlglot import exp

from headrace.rules.source import did_you_mean
from headrace.rules.sql.batch_allowed import VIEWS
from headrace.rules.sql.columns import USER
from headrace.rules.sql.draft import Draft

MOST_READS: Final = 4  # of views, those inside WITH each time they are read: rows multiply


@dataclass(frozen=True, slots=True)
class Source:
    """Columns of a table, and how often reading it reads a view; None has any column."""

    columns: tuple[str, ...] | None
    reads: int = 1

    def has(self, name: str) -> bool:
        """Is there such a column?"""
        return self.columns is None or name in self.columns


Sources: TypeAlias = Mapping[str, Source]


def check_columns(draft: Draft, tree: exp.Select) -> None:
    """Note every column and table of ``tree`` that there is not, and joins of strangers."""
    known = {name: Source(columns) for name, columns in VIEWS.items()}
    with_ = tree.args.get("with_")
    for statement in with_.expressions if with_ is not None else ():
        name = statement.alias
        if name in known:
            message = f"a second table {name!r}"
            draft.refuse("HR414", message, statement, f"not one of {', '.join(known)}")
        known[name] = _select(draft, statement.this, known)
    found = _select(draft, tree, known)
    if found.columns != (USER,):
        shown = ", ".join(name or "?" for name in found.columns or ())
        hint = "SELECT user_id FROM .."
        draft.refuse("HR418", f"SQL in batch gives user_id alone, not {shown}", tree, hint)
    elif found.reads > MOST_READS:
        message = f"events and profiles are read {found.reads} times, {MOST_READS} are allowed"
        draft.refuse("HR400", message, tree)


def _select(draft: Draft, node: exp.Select, known: Sources) -> Source:
    sources: dict[str, Source] = {}
    from_ = node.args.get("from_")
    if from_ is None:
        draft.refuse("HR414", "a SELECT needs FROM", node, f"the tables are {_or(VIEWS)}")
        return Source(())
    _add(draft, from_.this, known, sources)
    joined = False
    for join in node.args.get("joins") or ():
        name = _add(draft, join.this, known, sources)
        joined = _is_joined(draft, join, name, sources) or joined
    outputs = tuple(_output(draft, one) for one in node.expressions)
    named = {name for name in outputs if name}
    for clause, part in _clauses(node):
        aliases = named if clause in ("group", "having") else set()
        for column in _own_columns(part):
            _check(draft, column, sources, aliases, joined)
    reads = sum(source.reads for source in sources.values())
    return Source(outputs, min(reads, MOST_READS + 1))


def _add(draft: Draft, node: exp.Expr, known: Sources, sources: dict[str, Source]) -> str:
    """Make the table that ``node`` names one of ``sources``; the name it goes by."""
    name = node.alias_or_name
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select):
        source = _select(draft, node.this, known)
    elif isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
        source = known.get(node.name, Source(None))
        if node.name not in known:
            hint = did_you_mean(node.name, known) or f"the tables are {_or(known)}"
            draft.refuse("HR414", f"unknown table {node.name!r}", node, hint)
    else:
        hint = f"the tables are {_or(known)}"
        draft.refuse("HR414", f"{draft.written(node)!r} is no table here", node, hint)
        return name
    if name in sources:
        message = f"two tables {name!r} in one statement"
        draft.refuse("HR414", message, node, "give one another name: events e")
    sources[name] = source
    return name


def _is_joined(draft: Draft, join: exp.Join, name: str, sources: Sources) -> bool:
    """Does USING tie the users? Otherwise ON must, and is told when it does not."""
    using = join.args.get("using") or ()
    if [one.name for one in using] == [USER]:
        return True
    on = join.args.get("on")
    if using or not any(_ties(term, name, sources) for term in _terms(on)):
        kind = "a cross join" if on is None and not using else "a join of different users"
        hint = "JOIN .. ON a.user_id = b.user_id"
        draft.refuse("HR417", f"{kind} is not part of SQL in batch", join, hint)
    return False


def _ties(term: exp.Expr, name: str, sources: Sources) -> bool:
    if not isinstance(term, exp.EQ):
        return False
    sides = (term.this, term.expression)
    if not all(isinstance(side, exp.Column) and side.name == USER for side in sides):
        return False
    tables = {side.text("table") for side in sides}
    return name in tables and len(tables) == 2 and all(table in sources for table in tables)


def _terms(node: exp.Expr | None) -> Iterator[exp.Expr]:
    """What must hold, all of it."""
    waiting = [node] if node is not None else []
    while waiting:
        part = waiting.pop()
        if isinstance(part, exp.And):
            waiting += [part.this, part.expression]
        elif isinstance(part, exp.Paren):
            waiting.append(part.this)
        else:
            yield part


def _output(draft: Draft, node: exp.Expr) -> str:
    """The name of a column that a statement gives; nothing when it has none."""
    if not isinstance(node, exp.Alias):
        if isinstance(node, exp.Column):
            return node.name
        message = f"{draft.written(node)!r} needs a name"
        draft.refuse("HR415", message, node, "write AS name after it")
        return ""
    inner = node.this
    if node.alias == USER and not (isinstance(inner, exp.Column) and inner.name == USER):
        message = f"user_id is the user's id, not {draft.written(inner)!r}"
        draft.refuse("HR418", message, node, "give it another name")
    return node.alias


def _clauses(node: exp.Select) -> Iterator[tuple[str, exp.Expr]]:
    for one in node.expressions:
        yield "expressions", one
    for clause in ("where", "group", "having"):
        if node.args.get(clause) is not None:
            yield clause, node.args[clause]
    for join in node.args.get("joins") or ():
        if join.args.get("on") is not None:
            yield "on", join.args["on"]


def _own_columns(node: exp.Expr) -> Iterator[exp.Column]:
    """The columns in a clause; no statement stands inside one."""
    yield from node.find_all(exp.Column)


def _check(
    draft: Draft, column: exp.Column, sources: Sources, aliases: set[str], joined: bool
) -> None:
    name, table = column.name, column.text("table")
    if table:
        if table not in sources:
            hint = did_you_mean(table, sources) or f"here are {_or(sources)}"
            draft.refuse("HR415", f"unknown table {table!r} of column {name!r}", column, hint)
        elif not sources[table].has(name):
            hint = _nearest(name, sources[table].columns or ())
            draft.refuse("HR415", f"{table!r} has no column {name!r}", column, hint)
        return
    holders = [source for source in sources.values() if source.has(name)]
    if not holders and name not in aliases:
        columns = [one for source in sources.values() for one in source.columns or ()]
        draft.refuse("HR415", f"unknown column {name!r}", column, _nearest(name, columns))
    elif len(holders) > 1 and not (joined and name == USER):
        hint = f"write which: {next(iter(sources))}.{name}"
        draft.refuse("HR415", f"{len(holders)} tables have a column {name!r}", column, hint)


def _nearest(name: str, columns: list[str] | tuple[str, ...]) -> str:
    inside = "values inside are got by get_json_object(properties, '$.name')"
    return did_you_mean(name, [one for one in columns if one]) or inside


def _or(names: Mapping[str, object]) -> str:
    return " and ".join(names)
