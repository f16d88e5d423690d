"""Processes that outlive the command that started them, and the records that let it end them.

A record is ``<home>/run/<name>.json``. A pid alone proves nothing: after a crash the system may
have given it to somebody else. So a record also holds the start time, and a process is ours only
if both agree.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from headrace.errors import OperatorError

# Passed down to everything a child starts, so that orphans (a Spark driver whose launcher was
# killed) are found again. Postgres and Redis overwrite their environment, hence start times too.
TOKEN_VARIABLE = "HEADRACE_RUN_TOKEN"

BOOT = Path("/proc/sys/kernel/random/boot_id")
# Where there is no such file; start times in seconds shift when the clock is set.
START_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a child that was started, whether or not it still lives."""

    name: str
    pid: int
    started: float
    token: str
    log: str
    port: int | None = None
    # Tells the process from a later one of its number; "" where only the clock does.
    birth: str = ""

    def process(self) -> psutil.Process | None:
        """The living process of this record, or None."""
        try:
            process = psutil.Process(self.pid)
            if not self._is_of(process):
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.Error:
            return None

    @property
    def has_vanished(self) -> bool:
        """Is not even a corpse left of it, which nobody has taken note of?"""
        try:
            return not self._is_of(psutil.Process(self.pid))
        except psutil.Error:
            return True

    def _is_of(self, process: psutil.Process) -> bool:
        if self.birth:
            return _birth(self.pid) == self.birth
        return abs(process.create_time() - self.started) <= START_TOLERANCE_SECONDS

    @property
    def is_alive(self) -> bool:
        """Does the very process that was started still run?"""
        return self.process() is not None


class Children:
    """The children of one home."""

    def __init__(self, home: Path) -> None:
        self._run = home / "run"
        self._logs = home / "logs"

    def log_file(self, name: str) -> Path:
        """Where the output of ``name`` goes."""
        return self._logs / f"{name}.log"

    def names(self) -> tuple[str, ...]:
        """Everything that has a record."""
        files = sorted(file.stem for file in self._run.glob("*.json"))
        return tuple(name for name in files if self.record(name) is not None)

    def record(self, name: str) -> Record | None:
        """The record of ``name``; a broken one counts as none."""
        try:
            return Record(**json.loads((self._run / f"{name}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def alive(self, name: str) -> Record | None:
        """The record of ``name`` if its process runs."""
        record = self.record(name)
        return record if record is not None and record.is_alive else None

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> tuple[Record, subprocess.Popen[bytes]]:
        """Start ``command`` in a session of its own, so that Ctrl-C of ours is not its own."""
        make_private(self._run)
        make_private(self._logs)
        token = secrets.token_hex(8)
        log = self.log_file(name)
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    list(command),
                    cwd=cwd,
                    env={**os.environ, **(environment or {}), TOKEN_VARIABLE: token},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise OperatorError(
                    f"cannot start {name}: {command[0]}: {error.strerror}"
                ) from error
        try:
            started = psutil.Process(process.pid).create_time()
        except psutil.Error:  # gone already; the caller sees that by poll()
            started = time.time()
        record = Record(
            name=name,
            pid=process.pid,
            started=started,
            token=token,
            log=str(log),
            port=port,
            birth=_birth(process.pid),
        )
        write_private(self._run / f"{name}.json", json.dumps(asdict(record)))
        return record, process

    def stop(self, name: str, *, by: int = signal.SIGTERM, patience: float = 15) -> bool:
        """End ``name`` and whatever it started and left behind; True if anything ran."""
        record = self.record(name)
        if record is None:
            return False
        process = record.process()
        offspring = _offspring(process, record.token)
        if process is not None:
            _signal([process], by)
            _gone([process], patience)
        left = [each for each in offspring if each.is_running()]
        _signal(left, signal.SIGTERM)
        remaining = [*left, *([process] if process is not None else [])]
        still = _gone(remaining, 5 if left else 0)
        _signal(still, signal.SIGKILL)
        _gone(still, 5)
        (self._run / f"{name}.json").unlink(missing_ok=True)
        return process is not None or bool(offspring)


def _birth(pid: int) -> str:
    """Which boot, and how long after it, by a counter that nobody sets: proc(5), field 22."""
    try:
        boot = BOOT.read_text().strip()
        about = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return f"{boot}/{about.rpartition(')')[2].split()[19]}"


def _offspring(process: psutil.Process | None, token: str) -> list[psutil.Process]:
    """Descendants of ``process``, and orphans that carry ``token``."""
    found: dict[int, psutil.Process] = {}
    if process is not None:
        with suppress(psutil.Error):
            found.update({each.pid: each for each in process.children(recursive=True)})
    for each in psutil.process_iter():
        if each.pid in found or (process is not None and each.pid == process.pid):
            continue
        try:
            if each.environ().get(TOKEN_VARIABLE) == token:
                found[each.pid] = each
        except (psutil.Error, OSError):
            continue  # somebody else's process, or one that just ended
    return list(found.values())


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)  # psutil looks at the start time again first
        except psutil.Error:
            continue


def _gone(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for ``processes`` to end; those that did not."""
    _, alive = psutil.wait_procs(list(processes), timeout=seconds)
    return [each for each in alive if each.is_running() and not _is_zombie(each)]


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def make_private(folder: Path) -> None:
    """A folder only we can look into; parents are made with the ordinary rights."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"cannot make {folder}: {error.strerror}; set HEADRACE_HOME to a folder"
            " that can be written"
        ) from error


def write_private(file: Path, text: str) -> None:
    """Replace ``file`` at once, readable by us alone (it may hold a password)."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(text)
    partial.replace(file)


def log_tail(file: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(f"  | {line}" for line in text.splitlines()[-lines:]) or "(empty log)"
