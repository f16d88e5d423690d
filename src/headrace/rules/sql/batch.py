"""SQL in batch (``spec.sql``): text -> the same statement, written anew from a checked tree.

The statement goes to Spark SQL as a whole, so here nothing is translated. What reaches Spark is
never the author's text: a tree of nothing but known nodes, words and columns is written out, and
what was written is read and checked once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from headrace.clock import Instant, format_instant
from headrace.errors import RuleError
from headrace.rules.source import did_you_mean
from headrace.rules.sql.allowed import argument_named, named
from headrace.rules.sql.batch_allowed import (
    FUNCTIONS,
    NODES,
    ONLY_WINDOWED,
    TYPES,
    VIEWS,
    WINDOWED,
    WORDS,
    is_plain_like,
    is_sound_literal,
)
from headrace.rules.sql.batch_scope import check_columns
from headrace.rules.sql.draft import Draft
from headrace.rules.sql.guard import DEEPEST, MOST_TOKENS, is_readable, room_to_recurse

MOST_NODES: Final = 2_000
DEEPEST_TREE: Final = 200  # a chain of AND is one level for each
MOST_JOINED: Final = 16  # operands of concat: one inside another they multiply
_DEPTH: Final = {
    TokenType.L_PAREN: 1, TokenType.CASE: 1, TokenType.R_PAREN: -1, TokenType.END: -1,
}  # fmt: skip


class _Spark(Spark):
    """Spark without what escapes from a text: hints are comments, and so dropped."""

    class Tokenizer(Spark.Tokenizer):
        """Double quotes mean one thing in Spark and another elsewhere."""

        QUOTES: ClassVar = ["'"]


_DIALECT: Final = _Spark()


def read_batch_sql(draft: Draft) -> str:
    """The canonical text of the statement in ``draft``; nothing when it is refused."""
    if not is_readable(draft):
        return ""
    with room_to_recurse():
        try:
            tree = _checked(draft)
            if tree is None:
                return ""
            text = _written(tree)
            again = Draft(draft.file, text)
            second = _checked(again)
            if second is None or _written(second) != text:
                draft.problem("HR412", "this cannot be written anew as it is", draft.place(0))
                return ""
            return text
        except RecursionError:
            draft.problem("HR400", "nested too deep", draft.place(0))
            return ""


def bound_sql(text: str, at: Instant) -> str:
    """The canonical ``text`` with ``now()`` as the instant ``at``, checked and written anew.

    RuleError when it is not a text that `read_batch_sql` gives.
    """
    draft = Draft("<sql>", text)
    with room_to_recurse():
        tree = _checked(draft) if is_readable(draft) else None
        if tree is None:
            raise RuleError(draft.problems)
        now = exp.Literal.string(format_instant(at))
        for node in list(tree.find_all(exp.CurrentTimestamp)):
            node.replace(exp.cast(now.copy(), exp.DType.TIMESTAMPTZ))
        return _written(tree)


def _written(tree: exp.Expr) -> str:
    return tree.sql(_DIALECT, identify=True, comments=False, pretty=True)


def _checked(draft: Draft) -> exp.Expr | None:
    """The tree of the one statement in ``draft``, all of it allowed; None when refused."""
    try:
        tokens = _DIALECT.tokenize(draft.text)
    except TokenError:
        draft.problem("HR401", "not SQL: a text, name or comment is not closed", draft.place(0))
        return None
    if not _is_sound(draft, tokens):
        return None
    try:
        tree, *others = _DIALECT.parser().parse(tokens, draft.text)
    except ParseError as error:
        told = error.errors[0] if error.errors else {}
        where = (told.get("line"), told.get("col"))
        found = next((t for t in tokens if (t.line, t.col) == where), tokens[-1])
        message = f"not SQL: something is missing or too much at {found.text!r}"
        draft.problem("HR401", message, draft.place(found.start))
        return None
    except (SqlglotError, ValueError, IndexError, TypeError, AttributeError):
        # The parser's own faults about texts that nobody means.
        draft.problem("HR401", "not SQL", draft.place(tokens[0].start))
        return None
    if others or not isinstance(tree, exp.Select):
        hint = "one SELECT; JOIN and WITH combine several"
        draft.problem("HR412", "SQL in batch is one SELECT", draft.place(0), hint)
        return None
    before = len(draft.problems)
    for node in list(tree.find_all(exp.Anonymous)):
        if str(node.this).lower() == "now" and not node.expressions:
            node.replace(exp.CurrentTimestamp())
    if not _is_small(draft, tree):
        return None
    _check_nodes(draft, tree)
    if len(draft.problems) == before:
        check_columns(draft, tree)
    return tree if len(draft.problems) == before else None


def _is_sound(draft: Draft, tokens: list[Token]) -> bool:
    """Few enough words, nested little enough, one statement, no word that looks like another."""
    if not tokens:
        draft.problem("HR401", "no statement: expected SELECT user_id FROM ..", draft.place(0))
        return False
    if len(tokens) > MOST_TOKENS:
        message = f"{len(tokens):,} words and signs, {MOST_TOKENS:,} are allowed"
        draft.problem("HR400", message, draft.place(0))
        return False
    if tokens[0].token_type not in (TokenType.SELECT, TokenType.WITH):
        message = f"{tokens[0].text.upper()} is not part of SQL in batch"
        draft.problem("HR412", message, draft.place(tokens[0].start), "it is SELECT .. or WITH ..")
        return False
    depth = 0
    before = len(draft.problems)
    for number, token in enumerate(tokens):
        place = draft.place(token.start)
        raw = draft.text[token.start : token.end + 1]
        depth += _DEPTH.get(token.token_type, 0)
        if depth > DEEPEST:
            draft.problem("HR400", f"nested more than {DEEPEST} deep", place)
            return False
        if token.token_type is TokenType.SEMICOLON:
            draft.problem("HR412", "a second statement: SQL in batch is one", place)
            return False
        if token.token_type is TokenType.HINT:
            draft.problem("HR412", "a hint is not part of SQL in batch", place)
        if token.token_type is TokenType.STRING:
            follows = tokens[number + 1].token_type if number + 1 < len(tokens) else None
            if follows is TokenType.STRING:
                hint = r"a quote inside a text is \'"
                draft.problem("HR402", "a text right after a text", place, hint)
        elif not raw.isascii():
            odd = next(sign for sign in raw if not sign.isascii())
            draft.problem("HR402", f"{raw!r} has U+{ord(odd):04X}: names are ASCII", place)
        elif '"' in raw:
            hint = "write 'text' for a text, `name` for a name"
            draft.problem("HR402", "double quotes mean a text here and a name there", place, hint)
    return len(draft.problems) == before


def _is_small(draft: Draft, tree: exp.Expr) -> bool:
    waiting, count = [(tree, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MOST_NODES or depth > DEEPEST_TREE:
            what = f"{MOST_NODES:,} parts" if count > MOST_NODES else f"{DEEPEST_TREE} levels"
            draft.problem("HR400", f"more than {what} in one statement", draft.place(0))
            return False
        waiting += [(part, depth + 1) for _, part in _parts(node) if isinstance(part, exp.Expr)]
    return True


def _parts(node: exp.Expr) -> Iterator[tuple[str, object]]:
    """Each argument of ``node`` that says something, those of lists one by one."""
    for name, value in node.args.items():
        for part in value if isinstance(value, list) else [value]:
            if part is not None and part is not False and part != "":
                yield name, part


def _check_nodes(draft: Draft, tree: exp.Expr) -> None:
    """Is every node, every argument and every word of it on the list?"""
    waiting: list[exp.Expr] = [tree]
    joined = 0
    while waiting:
        node = waiting.pop()
        if type(node) not in NODES:
            _refuse(draft, node)
            continue
        inner = []
        for name, part in _parts(node):
            if name not in NODES[type(node)]:
                _refuse_argument(draft, node, name, part)
            elif isinstance(part, exp.Expr):
                inner.append(part)
            elif isinstance(part, str) and not isinstance(node, exp.Literal | exp.DataType):
                _check_word(draft, node, name, part)
        waiting += reversed(inner)
        if isinstance(node, exp.Concat):
            joined += len(node.expressions)
            if joined > MOST_JOINED:
                message = f"concat() of more than {MOST_JOINED} texts in one statement"
                draft.refuse("HR400", message, node)
                return
        for code, message, hint in _faults(node):
            draft.refuse(code, f"{message}: {draft.written(node)!r}", node, hint)


def _refuse(draft: Draft, node: exp.Expr) -> None:
    words = "EXISTS" if isinstance(node, exp.Exists) else named(node)[0]
    if isinstance(node, exp.Func) and not isinstance(node, exp.Connector | exp.Exists):
        name = words.removeprefix("the function ").removesuffix("()")
        hint = did_you_mean(name, FUNCTIONS) or f"there are {', '.join(FUNCTIONS)}"
        draft.refuse("HR413", f"{words} is not part of SQL in batch", node, hint)
        return
    message = f"{words} is not part of SQL in batch: {draft.written(node)!r}"
    draft.refuse("HR412", message, node, _INSTEAD.get(type(node), ""))


_INSTEAD: Final[dict[type[exp.Expr], str]] = {
    exp.Exists: "join it: JOIN .. ON a.user_id = b.user_id",
    exp.Union: "join, or write AND and OR",
    exp.Order: "a segment is a set of users",
    exp.Limit: "rank() OVER (ORDER BY ..) tells the first",
}


def _refuse_argument(draft: Draft, node: exp.Expr, name: str, part: object) -> None:
    at = part if isinstance(part, exp.Expr) else node
    if isinstance(node, exp.Table):
        hint = f"the tables are {' and '.join(VIEWS)}"
        message = f"{argument_named(name)} is not part of SQL in batch: {draft.written(node)!r}"
        draft.refuse("HR414", message, at, hint)
        return
    words = named(at)[0] if isinstance(at, exp.Query | exp.Order | exp.Limit) else ""
    words = words or argument_named(name)
    if isinstance(node, exp.In):
        words = "a statement after IN"
    hint = "join it: JOIN .. ON a.user_id = b.user_id" if isinstance(node, exp.In) else ""
    draft.refuse("HR412", f"{words} is not part of SQL in batch: {draft.written(node)!r}", at, hint)


def _check_word(draft: Draft, node: exp.Expr, name: str, text: str) -> None:
    pattern = WORDS.get((type(node), name))
    if pattern is None or not pattern.fullmatch(text):
        if isinstance(node, exp.Join):
            hint = "[LEFT] JOIN .. ON a.user_id = b.user_id"
            draft.refuse("HR417", f"a {text} join is not part of SQL in batch", node, hint)
        else:
            draft.refuse("HR412", f"{text!r} is not part of SQL in batch", node)
    elif isinstance(node, exp.Identifier):
        node.set(name, text.lower())  # Spark does not tell the two apart
    elif not isinstance(node, exp.JSONPathKey):
        node.set(name, text.upper())


def _faults(node: exp.Expr) -> Iterator[tuple[str, str, str]]:
    """Code, message and hint of each known node that stands where it must not."""
    match node:
        case exp.Literal() if not is_sound_literal(node):
            yield (
                "HR402",
                "a number or text that is none here",
                "no backslash but before a quote, no ${",
            )
        case exp.DataType() if node.this not in TYPES:
            hint = "string int bigint float double decimal boolean date timestamp"
            yield "HR416", "not a plain type", hint
        case exp.Like():
            pattern = node.expression
            is_text = isinstance(pattern, exp.Literal) and pattern.is_string
            if not is_text or not is_plain_like(str(pattern.this)):
                hint = "one '%', or one at each end of a text"
                yield "HR412", "LIKE of a pattern that may take long, or is no text", hint
        case exp.JSONExtractScalar() if not isinstance(node.expression, exp.JSONPath):
            yield "HR412", "a path that is no text", "get_json_object(properties, '$.amount')"
        case exp.JSONPathSubscript() if not isinstance(node.this, int):
            yield "HR412", "a path of another kind", "get_json_object(properties, '$.items[0].sku')"
        case exp.Star() if not isinstance(node.parent, exp.Count):
            yield "HR415", "* stands for no columns here", "name the columns"
        case exp.Window() if not isinstance(node.this, WINDOWED):
            hint = "row_number rank lag lead sum count avg"
            yield "HR413", "not a function of windows", hint
        case exp.Subquery() if not isinstance(node.parent, exp.From | exp.Join):
            yield "HR412", "a statement as a value", "join it: JOIN .. ON a.user_id = b.user_id"
        case exp.Subquery() if not isinstance(node.this, exp.Select) or not node.alias:
            yield "HR412", "a statement without a name", "FROM (SELECT ..) name"
        case exp.CTE() if not isinstance(node.this, exp.Select):
            yield "HR412", "not a SELECT", ""
        case exp.With() if not isinstance(node.parent, exp.Select) or node.parent.parent:
            yield "HR412", "WITH inside a statement", "write all of them at the beginning"
        case exp.Distinct() if isinstance(node.parent, exp.Select) and node.expressions:
            yield "HR412", "DISTINCT ON", ""
        case exp.ApproxQuantile() if not isinstance(node.args.get("quantile"), exp.Literal):
            yield "HR412", "not one percentile", "percentile_approx(column, 0.9)"
    if isinstance(node, ONLY_WINDOWED) and not isinstance(node.parent, exp.Window):
        yield "HR413", "a function of windows without OVER", ""
