"""What alembic runs to migrate: the connection and the schema come from :mod:`..migrate`."""

from __future__ import annotations

from alembic import context

from headrace.store.tables import metadata

connection = context.config.attributes["connection"]
schema = context.config.attributes["schema"]

context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table="schema_version",
    version_table_schema=schema,
    # The caller's transaction holds all steps: a migration that fails leaves nothing behind.
    transactional_ddl=True,
)
context.run_migrations()
