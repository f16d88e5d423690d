"""What the three embedded servers have in common: a protocol, and how one is brought up."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from headrace.embedded.children import Children, log_tail
from headrace.embedded.ports import choose_port, wait_until_free
from headrace.errors import OperatorError

POLL_SECONDS = 0.05
DYING_SECONDS = 5.0  # a killed process of a gigabyte has its ports for a moment longer
ATTEMPTS = 3  # another program may take the port between choosing and listening


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server whose data folder is prepared."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Server(Protocol):
    """One embedded server of one home."""

    @property
    def name(self) -> str:
        """Name of its record and log."""

    @property
    def setting(self) -> str:
        """The setting that says where such a server is, if one runs elsewhere."""

    @property
    def stop_signal(self) -> signal.Signals:
        """What makes it end in good order without waiting for its clients."""

    def prepare(self, port: int) -> Launch:
        """Make its data folder and configuration, for the first time or again."""

    def is_ready(self, port: int) -> bool:
        """Does it do its work, not just listen?"""

    def address(self, port: int) -> str:
        """What clients connect to; may hold a password."""


def ensure(
    server: Server,
    children: Children,
    *,
    wished_port: int,
    last_port: int | None,
    timeout: float,
    log: Path,
) -> int:
    """Leave ``server`` running and ready; returns its port. Does nothing to one that runs."""
    running = children.alive(server.name)
    if running is not None and running.port is not None:
        if _answers(server, children, running.port, timeout, log):
            return running.port
    elif running is not None:
        children.stop(server.name, by=server.stop_signal)
    dying = children.record(server.name)
    deadline = time.monotonic() + DYING_SECONDS
    # Postgres takes even a corpse for one that runs.
    while dying is not None and not dying.has_vanished and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if last_port:
        # The one that ran may be dying; clients know its port, and would look for it in vain.
        wait_until_free(last_port, DYING_SECONDS)
    for attempt in range(1, ATTEMPTS + 1):
        port = choose_port(wished_port, last_port if attempt == 1 else None)
        if wished_port and port != wished_port:
            raise OperatorError(
                f"port {wished_port} is taken; choose another as embedded.{server.name}_port"
            )
        launch = server.prepare(port)
        _, process = children.start(
            server.name, launch.command, environment=launch.environment, port=port
        )
        deadline = time.monotonic() + timeout
        while process.poll() is None:
            if server.is_ready(port):
                return port
            if time.monotonic() > deadline:
                children.stop(server.name, by=server.stop_signal)
                raise _failed(server, log, f"is not ready after {timeout:.0f} s")
            time.sleep(POLL_SECONDS)
        tail = log_tail(log).lower()
        if "address already in use" not in tail or attempt == ATTEMPTS:
            raise _failed(server, log, f"ended with exit code {process.returncode}")
    raise AssertionError("the last attempt returns or raises")


def _answers(server: Server, children: Children, port: int, timeout: float, log: Path) -> bool:
    """Wait for a server that runs to answer; False when it was about to die."""
    deadline = time.monotonic() + timeout
    while not server.is_ready(port):
        if children.alive(server.name) is None:
            return False
        if time.monotonic() > deadline:
            raise _failed(server, log, "runs but does not answer; try `headrace down` first")
        time.sleep(POLL_SECONDS)
    return True


def _failed(server: Server, log: Path, what: str) -> OperatorError:
    return OperatorError(
        f"the embedded {server.name} {what}; the end of {log}:\n{log_tail(log)}\n"
        f"To use a server of your own instead, set {server.setting}."
    )
