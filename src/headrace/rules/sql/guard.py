"""Before and around the parser: texts it should never see, and a tree of nothing but known nodes.

sqlglot recurses about thirty frames for each parenthesis, and is made to understand as much as it
can. So size, depth and words are bounded first, and afterwards every node must be on the list of
what a rule may be made of, with no argument that is not on it either.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from threading import RLock
from typing import ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError
from sqlglot.parser import Parser
from sqlglot.tokenizer_core import Token, TokenType
from sqlglot.tokens import Tokenizer as StandardTokenizer

from headrace.errors import Place
from headrace.rules.sql.allowed import (
    ALLOWED,
    FORBIDDEN_WORDS,
    FUNCTIONS,
    HINTS,
    argument_named,
    named,
)
from headrace.rules.sql.draft import Draft

LONGEST: Final = 32 * 1024
DEEPEST: Final = 64
MOST_TOKENS: Final = 5_000  # reading that many takes a tenth of a second
FRAMES: Final = 6_000  # 64 parentheses need 2,000 at most
_TURNING: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
_LOCK: Final = RLock()

_WORDS: Final = frozenset({
    TokenType.STRING, TokenType.NUMBER, TokenType.VAR, TokenType.IDENTIFIER, TokenType.L_PAREN,
    TokenType.R_PAREN, TokenType.COMMA, TokenType.DOT, TokenType.STAR, TokenType.SEMICOLON,
    TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE,
    TokenType.NULLSAFE_EQ, TokenType.DASH, TokenType.PLUS, TokenType.NOT, TokenType.AND,
    TokenType.OR, TokenType.RLIKE, TokenType.LIKE, TokenType.BETWEEN, TokenType.SELECT,
    TokenType.DISTINCT, TokenType.FROM, TokenType.WHERE, TokenType.GROUP_BY, TokenType.HAVING,
    TokenType.INTERSECT, TokenType.UNION, TokenType.EXCEPT, TokenType.ALIAS,
})  # fmt: skip


class Rules(Dialect):
    """Standard texts in single quotes, names in backticks, and nothing that escapes in a text."""

    class Tokenizer(StandardTokenizer):
        """Backticks quote names: double quotes mean one thing in Spark and another elsewhere."""

        QUOTES: ClassVar = ["'"]
        IDENTIFIERS: ClassVar = ["`"]


_RULES: Final = Rules()


def tokens_of(text: str) -> list[Token]:
    """The words of ``text``; TokenError when it has an open end."""
    return _RULES.tokenize(text)


def is_readable(draft: Draft) -> bool:
    """Is the text short enough, and does a reader see all that is in it?"""
    text = draft.text
    if len(text) > LONGEST or len(text.encode(errors="replace")) > LONGEST:
        message = f"longer than {LONGEST // 1024} KiB"
        draft.problem("HR400", message, draft.place(0), "put long lists of users under lists")
        return False
    odd = next((offset for offset in range(len(text)) if _is_odd(text, offset)), None)
    if odd is not None:
        message = f"the character U+{ord(text[odd]):04X}, which nobody sees"
        draft.problem("HR402", message, draft.place(odd), "remove it")
    return odd is None


@contextmanager
def room_to_recurse() -> Iterator[None]:
    """Frames enough for the deepest statement allowed, however deep the caller stands."""
    with _LOCK:
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(before + FRAMES)
        try:
            yield
        finally:
            sys.setrecursionlimit(before)


def _is_odd(text: str, offset: int) -> bool:
    """A control, a second kind of line end, half a character, or one that turns the line around."""
    character = text[offset]
    if " " <= character <= "~" or character in "\t\n":
        return False
    if character == "\r":
        return not text.startswith("\n", offset + 1)
    is_hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return is_hidden or character in _TURNING


def parse(draft: Draft) -> exp.Expr | None:
    """The tree of the one statement in ``draft``, of known nodes alone; None when refused."""
    try:
        tokens = tokens_of(draft.text)
    except TokenError:
        # The tokenizer says where it gave up; the last opening is the likelier place to look at.
        opening = max(draft.text.rfind(sign) for sign in ("'", "`", "/*"))
        message = "not SQL: a text, name or comment is not closed"
        draft.problem("HR401", message, draft.place(max(opening, 0)))
        return None
    if not _sound(draft, tokens):
        return None
    try:
        (tree,) = _RULES.parser().parse(tokens, draft.text)
    except ParseError as error:
        draft.problem("HR401", *_told(error, draft, tokens))
        return None
    if tree is None or not isinstance(tree, exp.Query):
        draft.problem("HR401", "not SQL: expected SELECT", draft.place(0))
        return None
    return tree if _is_known(draft, tree) else None


def _sound(draft: Draft, tokens: list[Token]) -> bool:
    """Few enough words, nested little enough, each of them one that a rule may hold."""
    if not tokens:
        message = "no statement: expected SELECT user_id FROM .."
        draft.problem("HR401", message, draft.place(0))
        return False
    if len(tokens) > MOST_TOKENS:
        message = f"{len(tokens):,} words and signs, {MOST_TOKENS:,} are allowed"
        draft.problem("HR400", message, draft.place(0), "put long lists of users under lists")
        return False
    if tokens[0].token_type not in (TokenType.SELECT, TokenType.L_PAREN):
        message = f"{tokens[0].text.upper()} is not part of the rule language"
        draft.problem("HR403", message, draft.place(tokens[0].start), "a rule is SELECT ..")
        return False
    before = len(draft.problems)
    depth = 0
    for token, following in pairwise([*tokens, None]):
        assert token is not None
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if depth > DEEPEST:
            message = f"parentheses nested more than {DEEPEST} deep"
            draft.problem("HR400", message, draft.place(token.start))
            return False
        if token.token_type is TokenType.SEMICOLON and following is not None:
            message = "a second statement: a rule is one"
            draft.problem("HR403", message, draft.place(following.start))
            return False
        _check_word(draft, token, following)
    return len(draft.problems) == before


def _check_word(draft: Draft, token: Token, following: Token | None) -> None:
    raw = draft.text[token.start : token.end + 1]
    place = draft.place(token.start)
    if token.token_type is not TokenType.STRING and not raw.isascii():
        odd = next(character for character in raw if not character.isascii())
        name = unicodedata.name(odd, "")
        message = f"{raw!r} has U+{ord(odd):04X} {name}: names are ASCII here"
        hint = "names of other letters go into condition('{..}')"
        draft.problem("HR402", message, place, hint)
    elif '"' in raw and token.token_type not in (TokenType.STRING, TokenType.IDENTIFIER):
        message = "double quotes mean a text here and a name there"
        if all(problem.message != message for problem in draft.problems):
            draft.problem("HR402", message, place, "write 'text' for a text, `name` for a name")
    elif raw.upper() in FORBIDDEN_WORDS and _is_call(following):
        draft.problem("HR403", f"{raw.upper()} is not part of the rule language", place)
    elif token.token_type is TokenType.COMMA and _ends(following):
        draft.problem("HR401", "not SQL: nothing follows this comma", place)
    elif token.token_type not in _WORDS and token.token_type not in Parser.ID_VAR_TOKENS:
        backticks = f"a name like it stands in backticks, `{raw}`" if raw.isidentifier() else ""
        message = f"{raw.upper()} is not part of the rule language"
        draft.problem("HR403", message, place, HINTS.get(raw.upper(), backticks))


def _is_call(following: Token | None) -> bool:
    return following is not None and following.token_type is TokenType.L_PAREN


def _ends(following: Token | None) -> bool:
    return following is None or following.token_type in (TokenType.R_PAREN, TokenType.FROM)


def _told(error: ParseError, draft: Draft, tokens: list[Token]) -> tuple[str, Place]:
    """What to say about ``error``. The parser's own words are about its classes."""
    where = [(told.get("line"), told.get("col")) for told in error.errors[:1]]
    found = next((token for token in tokens if (token.line, token.col) in where), tokens[-1])
    raw = draft.text[found.start : found.end + 1]
    return f"not SQL: something is missing or too much at {raw!r}", draft.place(found.start)


def _is_known(draft: Draft, tree: exp.Expr) -> bool:
    """Is every node, and every argument of each, on the list?"""
    before = len(draft.problems)
    waiting: list[exp.Expr] = [tree]
    while waiting:
        node = waiting.pop()
        if not _is_allowed(node):
            words, hint = named(node)
            message = f"{words} is not part of the rule language: {draft.written(node)!r}"
            draft.refuse("HR403", message, node, hint)
            continue
        for name, value in node.args.items():
            held = value if isinstance(value, list) else [value]
            nodes = [part for part in held if isinstance(part, exp.Expr)]
            if not any(held) or name in ALLOWED[type(node)]:
                waiting += reversed(nodes)
            elif all(map(_is_allowed, nodes)):
                words = argument_named(name)
                message = f"{words} is not part of the rule language: {draft.written(node)!r}"
                draft.refuse("HR403", message, nodes[0] if nodes else node)
            else:
                waiting += reversed(nodes)  # told by its own name
    return len(draft.problems) == before


def _is_allowed(node: exp.Expr) -> bool:
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower() in FUNCTIONS
    return type(node) in ALLOWED
