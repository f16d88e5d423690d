"""What commands of several groups are run on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headrace.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def on_postgres(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """Run `headrace` on a database of its own: (exit code, output, errors)."""
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", database_url)

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([*words])
        return code, *capfd.readouterr()

    return run
