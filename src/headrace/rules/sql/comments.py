"""Comments of a SQL text that are not its header."""

from __future__ import annotations

from headrace.rules.comments import Comments, lines_between
from headrace.rules.sql.guard import tokens_of
from headrace.rules.sql.header import header_of, leading_lines


def sql_comments(text: str) -> Comments:
    """The comments of ``text``, which has been read without problems."""
    above = list(leading_lines(text))
    leading = [line.rstrip() for _, line in above if line.strip() and header_of(line) is None]
    tokens = tokens_of(text)
    spans = [(token.start, token.end + 1) for token in tokens]
    others = lines_between(text, [(0, spans[0][0]), *spans], ("--", "/*"))
    return Comments(tuple(leading), tuple(others))
