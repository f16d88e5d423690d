"""What a run costs: processor time, resident memory and JVM heap of all its processes."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds and the highest resident memory (MiB) by part, and the driver's heap."""

    cpu_seconds: Mapping[str, float]
    peak_mib: Mapping[str, float]
    peak_total_mib: float
    peak_heap_mib: float


@dataclass(slots=True)
class _Group:
    cpu: float = 0.0
    mib: float = 0.0


@dataclass(slots=True)
class Meter:
    """Samples the process trees below some roots for the length of a ``with`` block.

    A part is a name and a function that gives its root processes. The streaming job is cut in
    two: ``driver`` (the JVM) and ``workers`` (its Python processes). Shared pages count once for
    each process that has them, so resident sums are upper bounds.
    """

    parts: Mapping[str, Callable[[], list[psutil.Process]]]
    _stop: threading.Event = field(default_factory=threading.Event)
    _first: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _peak: dict[str, float] = field(default_factory=dict)
    _total: float = 0.0
    _heaps: dict[int, HeapLog] = field(default_factory=dict)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for heap in self._heaps.values():
            heap.close()

    def mark(self) -> None:
        """Count from here: what came before was starting up."""
        self._sample()
        self._first = dict(self._last)
        self._peak, self._total = {}, 0.0
        for heap in self._heaps.values():
            heap.mark()

    def cost(self) -> Cost:
        """What was used since `mark`."""
        self._sample()
        used = {name: last - self._first.get(name, 0.0) for name, last in self._last.items()}
        heap = max((heap.peak_mib() for heap in self._heaps.values()), default=0.0)
        return Cost(used, dict(self._peak), self._total, heap)

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        groups: dict[str, _Group] = {}
        for name, roots in self.parts.items():
            for root in roots():
                self._look(name, root, groups)
        for name, group in groups.items():
            # Processes that ended count in their parent, so a part's time never falls for long.
            self._last[name] = max(self._last.get(name, 0.0), group.cpu)
            self._peak[name] = max(self._peak.get(name, 0.0), group.mib)
        self._total = max(self._total, sum(group.mib for group in groups.values()))

    def _look(self, name: str, root: psutil.Process, groups: dict[str, _Group]) -> None:
        for process in _tree(root):
            try:
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info().rss
                    kind = process.name()
            except psutil.Error:
                continue
            part = "workers" if name == "driver" and kind.startswith("python") else name
            group = groups.setdefault(part, _Group())
            group.cpu += times.user + times.system + times.children_user + times.children_system
            group.mib += memory / 2**20
            if name == "driver" and kind == "java" and process.pid not in self._heaps:
                self._heaps[process.pid] = HeapLog.of(process.pid)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


@dataclass(slots=True)
class HeapLog:
    """Used heap of one JVM, written twice a second by a single jstat for as long as it lives."""

    jstat: subprocess.Popen[bytes]
    log: IO[bytes]
    begin: int = 0

    @staticmethod
    def of(pid: int) -> HeapLog:
        interval = str(int(SAMPLE_SECONDS * 1_000))
        with tempfile.NamedTemporaryFile() as written:
            jstat = subprocess.Popen(
                ["jstat", "-gc", str(pid), interval], stdout=written, stderr=subprocess.DEVNULL
            )
            # Opened again: the writer's place in the file is not the reader's.
            return HeapLog(jstat, Path(written.name).open("rb"))

    def mark(self) -> None:
        """Forget what was written so far."""
        self.begin = self.log.seek(0, 2)

    def peak_mib(self) -> float:
        """The most that was in use since `mark`, in MiB, garbage included."""
        self.log.seek(0)
        head = self.log.readline().split()
        if not head:
            return 0.0  # it ended before it could be asked
        used = [head.index(name) for name in (b"S0U", b"S1U", b"EU", b"OU")]
        self.log.seek(max(self.begin, self.log.tell()))
        rows = [row for line in self.log if len(row := line.split()) == len(head)]
        return max((sum(float(row[at]) for at in used) for row in rows), default=0.0) / 1024

    def close(self) -> None:
        """End the jstat."""
        self.jstat.kill()
        self.jstat.wait()
        self.log.close()


def alive(pids: Callable[[], list[int]]) -> Callable[[], list[psutil.Process]]:
    """The living processes among some pids, asked anew each time."""

    def find() -> list[psutil.Process]:
        found = []
        for pid in pids():
            try:
                found.append(psutil.Process(pid))
            except psutil.Error:
                continue
        return found

    return find
