"""Fixtures for the whole suite: real servers, started once, on free ports.

Every test that writes takes a namespace or a database of its own, so that tests need no order.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer

import drawn
import properties
from databases import drop_database, fresh_database
from headrace.embedded import Servers, running
from headrace.settings import Settings
from schedule import TOGETHER, Schedule, scope


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


# A worker of pytest -n is begun without a file; PySpark ends a process that it takes for doctest.
sys.modules["__main__"].__dict__.setdefault("__file__", __file__)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Schedule:
    return Schedule(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long stories first: one that began last would be waited for by everybody else."""
    items.sort(key=lambda item: scope(item.nodeid) not in TOGETHER.values())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """At length, say what was looked at."""
    if properties.PAIRS != properties.USUAL:
        terminalreporter.write_sep("=", "what was drawn")
        terminalreporter.write_line(drawn.report())
        terminalreporter.write_line(f"never drawn: {', '.join(drawn.missing()) or 'nothing'}")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """What the developer has configured for himself must not reach the tests."""
    saved = {key: value for key, value in os.environ.items() if key.startswith("HEADRACE_")}
    kept = {"HEADRACE_CACHE_DIR", "HEADRACE_MAVEN_REPOSITORY"}
    for key in saved.keys() - kept:
        del os.environ[key]
    yield
    os.environ.update(saved)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Postgres, Kafka and Redis for this run of pytest: real ones, on free ports."""
    home = tmp_path_factory.mktemp("servers") / "home"
    with running(home, Settings(home=home)) as started:
        yield started


@pytest.fixture
def database_url(servers: Servers) -> Iterator[str]:
    """A new, empty Postgres database; dropped afterwards."""
    url = fresh_database(servers)
    yield url
    drop_database(servers, url)


@pytest.fixture
def namespace() -> str:
    """A prefix for topics and keys that no other test uses."""
    return f"t{uuid.uuid4().hex[:8]}."


@pytest.fixture
def settings(servers: Servers, database_url: str, namespace: str, tmp_path: Path) -> Settings:
    """Settings of a project of its own on the shared servers."""
    return Settings(
        home=tmp_path / "home",
        namespace=namespace,
        postgres_url=database_url,
        kafka_bootstrap=servers.kafka_bootstrap,
        redis_url=servers.redis_url,
    )
