"""``headrace export``, from a real API on real servers."""

from __future__ import annotations

import csv
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from headrace.cache.rebuild import rebuild
from headrace.cache.writer import Writer
from headrace.cli import main
from headrace.embedded.ports import choose_port
from headrace.rules.catalog import Catalog, Field
from headrace.rules.model import Compare, Segment, Trait
from headrace.rules.source import Rules
from headrace.settings import Settings
from headrace.store import Store
from services import environment, process, wait_for

USERS = [f"u{number:05}" for number in range(2_345)]
ENTERED = 1_768_212_000_000
SEGMENT = Segment(id="vip", name="Very", condition=Compare(Trait("age"), "exists", True))
CATALOG = Catalog(traits={"age": Field("integer"), "mail": Field("string", pii=True)})


@pytest.fixture
def port(settings: Settings) -> int:
    """Where the API of these servers will be."""
    return choose_port()


@pytest.fixture(autouse=True)
def _asked_here(settings: Settings, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(settings, port).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def api(settings: Settings, port: int) -> Iterator[Store]:
    """An API with 2,345 members of vip; the store of its rules."""
    writer = Writer(settings.redis_url.get_secret_value(), settings.namespace)
    traits = json.dumps({"age": 30, "mail": "@somebody"})
    rows = [(user, 1, 1, [("vip", 1, ENTERED)], traits) for user in USERS]
    rebuild(writer, rows, {0: 0}, active={"vip": 1}, as_of=5)
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    store.migrate()
    store.apply(Rules(CATALOG, (SEGMENT,)), author="test")
    with process("serve_api", settings, port):
        wait_for(port, "/v1/segments/vip", 200)
        yield store
    store.close()
    writer.close()


def test_a_segment_becomes_a_file(
    api: Store,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "vip.csv"
    assert main(["export", "vip", "--to", str(file)]) == 0
    with file.open(newline="") as lines:
        read = list(csv.DictReader(lines))
    assert [row["user_id"] for row in read] == USERS
    assert read[0] == {"user_id": "u00000", "entered_at": "2026-01-12T10:00:00Z", "age": "30"}
    assert "vip as of " in capfd.readouterr().err
    personal = ["export", "vip", "--format", "ndjson", "--trait", "mail"]
    assert main(personal) == 1
    assert "'mail' identifies a person" in capfd.readouterr().err
    assert main(["keys", "add", "mailer", "--role", "operator"]) == 0
    monkeypatch.setenv("HEADRACE_API_KEY", capfd.readouterr().out.strip())
    settled = time.monotonic() + 10
    while main(personal) != 0:  # a new key is known within seconds
        assert time.monotonic() < settled, capfd.readouterr().err
        capfd.readouterr()
        time.sleep(0.2)
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == len(USERS)
    assert json.loads(lines[-1])["traits"] == {"mail": "@somebody"}

    api.hold("vip", "lost 40 %", seen=timedelta(hours=1))
    assert main(["export", "vip", "--to", str(file)]) == 1
    assert "outputs of vip are held: lost 40 % (outputs-held) [HR956]" in capfd.readouterr().err
    with file.open(newline="") as lines:
        assert list(csv.DictReader(lines)) == read  # the file of before is still whole
    assert main(["export", "vib"]) == 1
    assert "there is no segment 'vib'" in capfd.readouterr().err
    assert main(["export", "vip", "--to", str(tmp_path / "no" / "vip.csv")]) == 1


def test_an_api_that_is_down_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "vip"]) == 1
    assert "`headrace up` starts it" in capfd.readouterr().err


def test_half_an_answer_is_no_file(
    port: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vip.csv"
    with socket.create_server(("127.0.0.1", port)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(65_536)
                client.sendall(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"8\r\nuser_id\n\r\n4\r\nann\n\r\n"
                )

        answering = threading.Thread(target=answer)
        answering.start()
        code = main(["export", "vip", "--to", str(file)])
        answering.join()
    assert code == 1
    assert "broke off in the middle" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
