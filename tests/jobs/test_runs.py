"""One logical run has one effect, whoever kills, repeats or doubles it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.jobs.runs import Note, Timings, run_once
from headrace.settings import Settings
from headrace.store import Store

QUICK = Timings(lease=1.0, renew=0.2, ask=0.05)
SLOW_RUN = Path(__file__).with_name("slow_run.py")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def once(store: Store, database_url: str) -> Callable[..., int]:
    settings = Settings(postgres_url=database_url)
    return lambda run_id, work: run_once(settings, "recompute", run_id, work, timings=QUICK)


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


@pytest.fixture
def slow(store: Store, database_url: str, diary: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run "daily" in another process, in the midst of its work."""
    words = [sys.executable, str(SLOW_RUN), database_url, "daily", str(diary), "30"]
    process = subprocess.Popen(words)
    until = time.monotonic() + 30
    while not diary.exists():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def states(store: Store) -> list[str]:
    return [row.state for row in reversed(store.progress("recompute", kind="recompute"))]


@pytest.mark.parametrize("code", [0, 1])
def test_a_run_that_is_done_says_so_and_exits_the_same(
    once: Callable[..., int], store: Store, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    effects: list[str] = []

    def work(note: Note) -> int:
        effects.append("one")
        note({"memberships": 7})
        return code

    assert [once("daily", work), once("daily", work)] == [code, code]
    assert effects == ["one"]
    assert capsys.readouterr().out.startswith("run daily is done already, since 20")
    [row] = store.progress("recompute", kind="recompute")
    assert (row.state, row.exit_code, row.details["memberships"]) == ("done", code, 7)
    once("another", work)
    once(None, work)
    once(None, work)
    assert effects == ["one"] * 4


def test_a_run_that_failed_is_done_when_asked_again(once: Callable[..., int], store: Store) -> None:
    def fail(_: Note) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        once("daily", fail)
    assert once("daily", lambda _: None) == 0
    assert states(store) == ["failed", "done"]


def test_of_the_same_run_twice_at_once_one_acts(once: Callable[..., int]) -> None:
    effects: list[str] = []

    def work(_: Note) -> None:
        effects.append("begin")
        time.sleep(0.3)
        effects.append("end")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: once("daily", work), range(4))) == [0] * 4
        assert effects == ["begin", "end"]
        list(pool.map(lambda n: once(f"daily {n}", work), range(2)))
    assert effects == ["begin", "end"] * 3, "two of a kind do not meet"


def test_a_killed_run_is_done_by_the_next(
    once: Callable[..., int], store: Store, slow: subprocess.Popen[bytes]
) -> None:
    slow.kill()
    assert once("daily", lambda _: None) == 0
    assert states(store) == ["lost", "done"]


def test_a_run_that_slept_through_its_lease_acts_no_more(
    once: Callable[..., int], slow: subprocess.Popen[bytes], diary: Path
) -> None:
    slow.send_signal(signal.SIGSTOP)
    assert once("daily", lambda _: None) == 0
    slow.send_signal(signal.SIGCONT)
    assert slow.wait(10) == 1
    assert diary.read_text() == "begin\n"
