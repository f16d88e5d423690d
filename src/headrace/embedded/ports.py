"""Free ports on the loopback interface."""

from __future__ import annotations

import socket
import time

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Can a server listen on ``port`` now?"""
    with socket.socket() as attempt:
        # Like servers do: a port whose last connections are still closing is free.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port nobody listens on, as the system gives it."""
    with socket.socket() as attempt:
        attempt.bind((LOOPBACK, 0))
        given: int = attempt.getsockname()[1]
    return given


def wait_until_free(port: int, seconds: float) -> bool:
    """Wait for whoever has ``port`` to let go of it; was that soon enough?"""
    deadline = time.monotonic() + seconds
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def choose_port(*wishes: int | None) -> int:
    """The first of ``wishes`` that is free, else any free port."""
    return next((port for port in wishes if port and is_free(port)), None) or free_port()


def answers(port: int, question: bytes, expected: bytes, *, timeout: float = 1.0) -> bool:
    """Does whoever listens on ``port`` reply to ``question`` with ``expected`` somewhere in it?"""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout) as line:
            line.sendall(question)
            heard = b""
            while expected not in heard and len(heard) < 65_536:
                part = line.recv(4_096)
                if not part:
                    return False
                heard += part
            return expected in heard
    except OSError:
        return False
