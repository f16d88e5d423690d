"""A stage on the shared Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimes import Stage, staged


@pytest.fixture
def stage(database_url: str, tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, database_url) as ready:
        yield ready
