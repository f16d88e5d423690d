"""A stage for runtimes: real processes, a real lease, and a diary of who wrote when.

Run as a script it is one runtime, in a hurry: runtimes.py HOME POSTGRES_URL DIARY BEHAVIOUR.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from headrace.runtime import Timings, supervise
from headrace.runtime.backoff import Backoff
from headrace.settings import Settings
from headrace.store import Progress, Store

QUICK = Timings(
    poll=0.05,
    lease=2.0,
    renew=0.4,
    away=0.2,
    patience=1.0,
    reserve=0.3,
    backoff=Backoff(first=0.1, most=0.6, healthy_after=30.0, quick_limit=3),
)
FAKE = Path(__file__).parent / "runtime" / "fake_submit.py"


def command(diary: Path, behaviour: Path) -> tuple[list[str], Path]:
    return [sys.executable, str(FAKE), str(diary), str(behaviour)], Path.cwd()


@dataclass
class Stage:
    """One home and one database, with the runtimes that work on them."""

    folder: Path
    url: str
    store: Store
    watchers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def diary(self) -> list[str]:
        file = self.folder / "diary"
        return file.read_text().splitlines() if file.exists() else []

    def words(self) -> list[str]:
        return [line.split()[0] for line in self.diary]

    def behave(self, behaviour: str) -> None:
        (self.folder / "behaviour").write_text(behaviour)

    def aim(self, plan: str = "{}") -> None:
        with self.store.publishing() as edition:
            edition.aim("stream", plan, author="test")

    def watch(self, *more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                *(sys.executable, __file__, str(self.home), self.url),
                *(str(self.folder / "diary"), str(self.folder / "behaviour")),
                *more,
            ],
            stdout=(self.folder / "watchers.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        self.watchers.append(process)
        return process

    def end(self, watcher: subprocess.Popen[bytes]) -> int:
        watcher.terminate()
        return watcher.wait(60)

    def launches(self) -> list[Progress]:
        return list(reversed(self.store.progress("stream", limit=100)))

    def running(self) -> Progress:
        """Wait for a launch in state ``running`` whose driver has started."""
        self.until(
            lambda: (
                any(row.state == "running" for row in self.launches())
                and any(psutil.pid_exists(int(pid)) for pid in starts_of(self.diary))
            )
        )
        return next(row for row in self.launches() if row.state == "running")

    def waiting(self) -> Progress:
        """Wait for a driver in reserve."""
        self.until(lambda: bool(self.reserves()) and "reserve" in self.words()[-1:])
        return self.reserves()[0]

    def reserves(self) -> list[Progress]:
        return self.store.live_progress("stream", kind="reserve")

    def driver(self) -> int:
        """The pid of the newest driver."""
        return starts_of(self.diary)[-1]

    def until(self, claim: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not claim():
            if time.monotonic() > deadline:
                log = (self.folder / "watchers.log").read_text()
                raise AssertionError(f"not within {seconds} s: {self.diary}\n{log}")
            time.sleep(0.05)


def starts_of(diary: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in diary if line.startswith("start ")]


@contextmanager
def staged(folder: Path, url: str) -> Iterator[Stage]:
    store = Store(url)
    store.migrate()
    stage = Stage(folder, url, store)
    stage.behave("work")
    yield stage
    for watcher in stage.watchers:
        watcher.kill()
        watcher.wait()
    # Not by the diary: one that was launched a moment ago has not written into it yet, and may be
    # about to have a child.
    while drivers := _drivers_of(folder):
        for driver in drivers:
            with suppress(psutil.Error):
                driver.kill()
        psutil.wait_procs(drivers, timeout=5)
    store.close()
    assert "TWO-WRITERS" not in stage.words()


def _drivers_of(folder: Path) -> list[psutil.Process]:
    """The processes of drivers that live in ``folder``."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            is_driver = any(word.endswith(("fake_submit.py", "run_stream.py")) for word in words)
            if is_driver and any(word.startswith(f"{folder}/") for word in words):
                found.append(process)
    return found


if __name__ == "__main__":
    home, url, diary, behaviour, *more = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    supervise(
        Settings(home=home, postgres_url=url, stream={"reserve": "reserve" in more}),
        stop,
        command=command(Path(diary), Path(behaviour)),
        timings=QUICK,
    )
