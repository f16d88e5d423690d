"""Connections that say nothing, or never stop to begin, are closed; others are not disturbed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from headrace.embedded.ports import choose_port
from headrace.serving import prompt
from headrace.serving.prompt import MOST_HEAD_BYTES, PromptHttp

SOON = 0.5  # s, for HEAD_SECONDS
HEADER = b"X-More: " + b"a" * 8_000 + b"\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body; the answer takes longer than a head may."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await prompt.asyncio.sleep(3 * SOON)
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(prompt, "HEAD_SECONDS", SOON)
    chosen = choose_port()
    config = uvicorn.Config(
        app, port=chosen, http=PromptHttp, lifespan="off", log_level="error", timeout_keep_alive=30
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield chosen
    server.should_exit = True
    thread.join(10)


def opened(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def closed_after(connection: socket.socket) -> float:
    """Seconds until the other side hangs up."""
    began = time.monotonic()
    with suppress(ConnectionError):
        while connection.recv(65_536):
            pass
    return time.monotonic() - began


def answered(connection: socket.socket, request: bytes) -> bool:
    connection.sendall(request)
    found = b""
    while not found.endswith(b"ok"):
        part = connection.recv(65_536)
        if not part:
            return False
        found += part
    return b"200" in found


def endured(connection: socket.socket, drop: bytes) -> float:
    """Seconds for which the other side takes a drop every now and then; 5 is for ever."""
    began = time.monotonic()
    with suppress(ConnectionError):
        while time.monotonic() - began < 5:
            connection.sendall(drop)
            time.sleep(0.05)
    return time.monotonic() - began


def is_cut(connection: socket.socket, piece: bytes) -> bool:
    """Does the other side hang up before it has taken very many of ``piece``?"""
    sent = 0
    with suppress(ConnectionError):
        while sent < 64 * MOST_HEAD_BYTES:
            sent += connection.send(piece)
    return sent < 64 * MOST_HEAD_BYTES


def test_who_says_nothing_is_hung_up_on(port: int) -> None:
    with opened(port) as connection:
        assert SOON / 2 < closed_after(connection) < 5


@pytest.mark.parametrize("drop", [b"X-Slow: 1\r\n", b"a"])
@pytest.mark.parametrize("before", [b"", REQUEST])
def test_who_drips_is_hung_up_on(port: int, drop: bytes, before: bytes) -> None:
    with opened(port) as connection:
        if before:
            assert answered(connection, before)
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert endured(connection, drop) < 5


def test_empty_lines_are_no_request_either(port: int) -> None:
    with opened(port) as connection:
        assert answered(connection, REQUEST)
        assert endured(connection, b"\r\n") < 5


@pytest.mark.parametrize(
    ("before", "piece"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", HEADER, id="headers"),
        pytest.param(b"GET / HTTP/1.1\r\nX-More: ", b"a" * 8_000, id="one header"),
        pytest.param(
            b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n",
            HEADER,
            id="behind a slow answer",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            HEADER,
            id="trailers",
        ),
    ],
)
def test_what_has_no_end_is_cut(port: int, before: bytes, piece: bytes) -> None:
    with opened(port) as connection:
        connection.sendall(before)
        assert is_cut(connection, piece)


def test_others_are_not_disturbed(port: int) -> None:
    with opened(port) as connection:
        for _ in range(3):
            assert answered(connection, REQUEST)
            time.sleep(1.5 * SOON)  # between two requests other limits hold
        assert answered(connection, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        body = b"a" * (4 * MOST_HEAD_BYTES)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert answered(connection, head + body)
        connection.sendall(head)
        time.sleep(2 * SOON)
        assert answered(connection, body)
