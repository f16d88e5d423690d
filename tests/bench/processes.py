"""What a run costs: processor time, resident memory and JVM heap of all its processes."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

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
    _heap: float = 0.0
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

    def mark(self) -> None:
        """Count from here: what came before was starting up."""
        self._sample()
        self._first = dict(self._last)
        self._peak, self._total, self._heap = {}, 0.0, 0.0

    def cost(self) -> Cost:
        """What was used since `mark`."""
        self._sample()
        used = {name: last - self._first.get(name, 0.0) for name, last in self._last.items()}
        return Cost(used, dict(self._peak), self._total, self._heap)

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
            if name == "driver" and kind == "java":
                self._heap = max(self._heap, heap_mib(process.pid))


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def heap_mib(pid: int) -> float:
    """Used heap of a JVM, in MiB; 0 when it cannot be asked."""
    try:
        answer = subprocess.run(
            ["jstat", "-gc", str(pid)],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        head, row = answer.stdout.splitlines()[:2]
        cells = dict(zip(head.split(), row.split(), strict=True))
        return sum(float(cells[name]) for name in ("S0U", "S1U", "EU", "OU")) / 1024
    except (OSError, ValueError, KeyError, subprocess.SubprocessError):
        return 0.0


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
