"""The tables: up, down, up; and the model that matches them."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from headrace.errors import OperatorError
from headrace.store import Store
from headrace.store.connection import Database
from headrace.store.tables import metadata


def tables(url: str, schema: str) -> set[str]:
    with Database(url, schema).begin() as connection:
        return set(inspect(connection).get_table_names(schema))


def test_up_down_up_leaves_the_same_tables(database_url: str) -> None:
    store = Store(database_url)
    store.migrate()
    made = tables(database_url, "headrace")
    store.migrate()
    assert tables(database_url, "headrace") == made >= metadata.tables.keys()
    store.migrate("base")
    assert tables(database_url, "headrace") == {"schema_version"}
    store.migrate()
    assert tables(database_url, "headrace") == made
    store.close()


def test_model_and_migrations_agree(store: Store, database_url: str) -> None:
    with Database(database_url).begin() as connection:
        connection.execute(text("SET search_path TO headrace"))
        context = MigrationContext.configure(connection, opts={"version_table": "schema_version"})
        wanted = {"add_table", "remove_table", "add_column", "remove_column", "modify_nullable"}
        found = [d for d in compare_metadata(context, metadata) if str(d[0]) in wanted]
    assert found == []


def test_namespaces_share_a_database(database_url: str) -> None:
    for namespace in ("one", "Two.", "three-3"):
        Store(database_url, namespace).migrate()
    assert tables(database_url, "one") == tables(database_url, "Two.")
    assert Store(database_url, "one").begin_progress("stream", "launch") == 1
    assert Store(database_url, "Two.").progress("stream") == []


def test_a_newer_schema_is_refused(store: Store, database_url: str) -> None:
    with Database(database_url).begin() as connection:
        connection.execute(text("UPDATE headrace.schema_version SET version_num = '9999'"))
    with pytest.raises(OperatorError, match="newer release"):
        store.migrate()


def test_missing_tables_are_a_sentence(database_url: str) -> None:
    with pytest.raises(OperatorError, match=r"no tables of Headrace in schema 'headrace'"):
        Store(database_url).target_plan("stream")
