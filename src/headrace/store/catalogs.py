"""Catalogs ever applied; the latest is in force."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from sqlalchemy import Connection, insert, select

from headrace.rules.catalog import Catalog
from headrace.rules.yaml import canonical, parse_catalog
from headrace.store.tables import catalogs


def latest_text(connection: Connection) -> str | None:
    """The canonical text in force."""
    return connection.execute(
        select(catalogs.c.text).order_by(catalogs.c.id.desc()).limit(1)
    ).scalar_one_or_none()


def latest(connection: Connection) -> Catalog | None:
    """The catalog in force."""
    text = latest_text(connection)
    return _parsed(text) if text is not None else None


@lru_cache(maxsize=8)
def _parsed(text: str) -> Catalog:
    # The APIs ask for it every few seconds, and it rarely is another one.
    return parse_catalog(text, "postgres:catalog")


def put(connection: Connection, catalog: Catalog, *, author: str, reason: str) -> None:
    """Make ``catalog`` the one in force."""
    text = canonical(catalog)
    content = hashlib.sha256(text.encode()).hexdigest()
    connection.execute(
        insert(catalogs).values(text=text, content_hash=content, author=author, reason=reason)
    )
