"""``headrace up``, ``status`` and ``down``, as somebody at a shell sees them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import embedded
from headrace.cli import main
from headrace.embedded.services import SERVICES, services_status, start_services, stop_services
from headrace.errors import OperatorError
from headrace.settings import Settings

# Stands in for a process of ours: leaves when told to, and says where it was started.
STAND_IN = """
import http.server, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(os.environ["HEADRACE_HOME"], flush=True)
if "serve" in sys.argv[0]:
    import json
    notes = json.load(open(os.environ["HEADRACE_HOME"] + "/run/servers.json"))
    port = notes["ingest.port" if "ingest" in sys.argv[0] else "api_port"]
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers()
        def log_message(self, *_): pass
    http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
time.sleep(600)
"""


LISTED = ("servers", "processes")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def headrace(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """One command in the project: exit code, standard output, standard error."""
    monkeypatch.chdir(project)

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([*words, "--home", str(project / "home")])
        return code, *capfd.readouterr()

    return run


def running(headrace: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(headrace("status", "--output", "json")[1])
    return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "local.toml").write_text("")
    (tmp_path / "jobs").mkdir()
    for service in SERVICES:
        (tmp_path / service.script).write_text(STAND_IN)
    yield tmp_path
    stop_services(tmp_path / "home")
    embedded.down(tmp_path / "home")


def test_up_status_down(headrace: Run) -> None:
    code, said, _ = headrace("up")
    assert code == 0
    names = [line.split()[0] for line in said.splitlines()[1:]]
    assert names == ["postgres", "kafka", "redis", "api", "events"]
    assert "@" not in said  # no password
    before = running(headrace)
    assert all(row["is_running"] for row in before["servers"] + before["processes"])
    assert before["trouble"] is None

    assert headrace("up") == (0, said, "")
    again = running(headrace)
    assert [again[name] for name in LISTED] == [before[name] for name in LISTED]

    victim = psutil.Process(before["processes"][1]["pid"])
    victim.kill()
    psutil.wait_procs([victim], timeout=5)
    code, told, _ = headrace("status")
    assert code == 1
    assert "died" in told
    assert headrace("up")[0] == 0
    after = running(headrace)
    assert after["processes"][0] == before["processes"][0]
    assert after["processes"][1]["pid"] != before["processes"][1]["pid"]

    assert headrace("down")[0] == 0
    pids = [row["pid"] for row in after["servers"] + after["processes"]]
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert "nothing of ours" in headrace("down")[2]


def test_a_process_that_ends_at_once_shows_its_log(project: Path) -> None:
    (project / "jobs" / "load_memberships.py").write_text("raise SystemExit('no rules today')\n")
    settings = Settings(home=project / "home")
    with pytest.raises(OperatorError, match=r"(?s)load_memberships\.py ended.*no rules today"):
        start_services(settings, root=project, target="local")


def test_a_taken_port_is_passed_over(project: Path) -> None:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        ports = [one.getsockname()[1] for one in taken]
        given = {"home": project / "home", "api_port": ports[0], "ingest": {"port": ports[1]}}
        start_services(Settings(**given), root=project, target="local")
        notes = json.loads((project / "home" / "run" / "servers.json").read_text())
    assert {notes["api_port"], notes["ingest.port"]}.isdisjoint(ports)
    assert all(row.is_running for row in services_status(project / "home"))


def test_a_down_server_is_a_sentence(project: Path, headrace: Run) -> None:
    (project / "conf" / "local.toml").write_text(
        'postgres_url = "postgresql+psycopg2://x@127.0.0.1:1/x"\n'
        'kafka_bootstrap = "127.0.0.1:1"\nredis_url = "redis://127.0.0.1:1/0"\n'
    )
    code, _, said = headrace("up")
    assert code == 1
    assert "127.0.0.1:1" in said
    assert "Traceback" not in said


def test_processes_learn_where_a_server_has_moved_to(project: Path) -> None:
    def started(port: int) -> tuple[str, ...]:
        settings = Settings(home=project / "home", redis_url=f"redis://127.0.0.1:{port}/0")
        return start_services(settings, root=project, target="local")

    names = tuple(service.name for service in SERVICES)
    assert [started(1), started(1), started(2), started(2)] == [names, (), names, ()]


def test_two_at_once_start_everything_once(project: Path) -> None:
    settings = Settings(home=project / "home")
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(start_services, settings, root=project, target="local") for _ in range(2)
        ]
        started = sorted(run.result() for run in runs)
    assert started == [(), tuple(service.name for service in SERVICES)]
    home = str(project / "home").encode()
    stop_services(project / "home")
    left = [pid for pid in psutil.pids() if home in environment_of(pid)]
    assert left == []


def environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_a_port_that_was_asked_for_is_not_passed_over(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(home=project / "home", api_port=taken.getsockname()[1])
        with pytest.raises(OperatorError, match="is taken; set another as api_port"):
            start_services(settings, root=project, target="local", fixed={"api_port"})
