"""Databases for tests on the shared Postgres."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from headrace.embedded import Servers


def fresh_database(servers: Servers) -> str:
    """The URL of a new, empty database."""
    name = f"t_{uuid.uuid4().hex}"
    _administer(servers, f'CREATE DATABASE "{name}"')
    return urlunsplit(urlsplit(servers.postgres_url)._replace(path=f"/{name}"))


def drop_database(servers: Servers, url: str) -> None:
    """Forget a database, whoever may still be connected to it."""
    name = urlsplit(url).path.lstrip("/")
    _administer(servers, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _administer(servers: Servers, statement: str) -> None:
    connection = psycopg2.connect(servers.postgres_url.replace("+psycopg2", "", 1))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
