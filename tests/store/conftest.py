"""A store with its tables made, in a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.store import Store


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    opened.migrate()
    yield opened
    opened.close()
