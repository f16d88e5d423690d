"""Bring the tables of one schema to this release's shape, or back."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import CreateSchema

from headrace.errors import OperatorError

LATEST = "head"
NOTHING = "base"


def migrate(connection: Connection, schema: str, revision: str = LATEST) -> None:
    """Move to ``revision`` within the transaction of ``connection``.

    Until that ends nobody else migrates or publishes in the schema.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": schema})
    # Making a schema needs a right that using it does not: no IF NOT EXISTS.
    if not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
    # Half of what importing the store would cost, and few who use it ever migrate.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes.update(connection=connection, schema=schema)
    try:
        if revision == NOTHING:
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
    except CommandError as error:
        raise OperatorError(
            f"Postgres schema {schema!r} was made by a newer release of Headrace ({error}): "
            "upgrade this one",
            code="HR924",
        ) from error
