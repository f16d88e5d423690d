"""Whose rows a stream brings, as written -> a Database.

database:
  url: postgresql://crm@db.example:5432/shop
  table: public.customers
  changes: inserts
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from headrace.rules.nodes import Mapping, Node
from headrace.rules.reading import Reading
from headrace.rules.streams.model import Database, Format

SCHEME: Final = "postgresql"
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
_TABLE = re.compile(rf"{_NAME}\.{_NAME}")


def read_database(reading: Reading, spec: Mapping, form: Format) -> Database | None:
    """What 'database' in ``spec`` says; problems are noted in ``reading``."""
    node = spec.get("database")
    body = reading.mapping(node, "'database'") if node is not None else None
    if node is None or body is None:
        return None
    if form != "debezium":
        message = f"rows of a database come as 'format: debezium', not {form!r}"
        reading.problem("HR114", message, node.place)
    reading.known_keys(body, ("url", "table", "changes", "watermark"), "'database'")
    url = reading.required(body, "url", "'database'")
    table = reading.required(body, "table", "'database'")
    changes = reading.choice(body, "changes", ("all", "inserts"), "all")
    if url is None or table is None:
        return None
    column = body.get("watermark")
    watermark = _column(reading, column) if column is not None else ""
    return Database(_url(reading, url), _table(reading, table), changes == "inserts", watermark)


def _url(reading: Reading, node: Node) -> str:
    text = reading.text(node, "'url'") or ""
    problem = url_problem(text)
    if problem and text:
        reading.problem("HR113", problem, node.place)
    return text


def url_problem(text: str) -> str | None:
    """What keeps ``text`` from being the address of a database, without its password."""
    usual = f"{SCHEME}://USER@HOST:PORT/NAME"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return f"'url' is {usual}"
    if parts.password is not None:
        return "a password does not belong into a document: `headrace streams add` asks for it"
    if parts.scheme != SCHEME:
        return f"only databases of Postgres are read: 'url' is {usual}"
    if parts.query or parts.fragment:
        return f"'url' says nothing behind the name of the database: {usual}"
    if not parts.hostname or not parts.username or len(parts.path) < 2 or "/" in parts.path[1:]:
        return f"'url' is {usual}"
    return None


def _column(reading: Reading, node: Node) -> str:
    text = reading.text(node, "'watermark'") or ""
    if text and re.fullmatch(_NAME, text) is None:
        message = f"'watermark' is the name of a column, not {text!r}"
        reading.problem("HR111", message, node.place)
    return text


def _table(reading: Reading, node: Node) -> str:
    text = reading.text(node, "'table'") or ""
    if text and _TABLE.fullmatch(text) is None:
        message = f"'table' is named with its schema, such as 'public.customers', not {text!r}"
        reading.problem("HR111", message, node.place)
    return text
