"""A stage on the shared Postgres, and the command line on a project of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Run
from headrace.cli import main
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import CONTROL, topic
from headrace.settings import Settings
from headrace.store import Store
from runtimes import Stage, staged


@pytest.fixture
def stage(database_url: str, tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, database_url) as ready:
        yield ready


@pytest.fixture
def run(settings: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> Run:
    """Run `headrace` with the settings of this test: (exit code, output, errors)."""
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics(settings.namespace, [topic(CONTROL)])
    monkeypatch.setenv("HEADRACE_HOME", str(settings.home))
    monkeypatch.setenv("HEADRACE_NAMESPACE", settings.namespace)
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", settings.postgres_url.get_secret_value())
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", settings.kafka_bootstrap)

    def ran(*words: str | int | Path) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return ran


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings.postgres_url.get_secret_value(), settings.namespace)
