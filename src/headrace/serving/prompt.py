"""HTTP from clients who get to the point: the head of a request comes soon, and is no book."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS: Final = 10.0
MOST_HEAD_BYTES: Final = 64 << 10


class PromptHttp(HttpToolsProtocol):
    """Closes a connection whose request line and headers take too long, or are too many.

    uvicorn itself waits for them for ever, and keeps whatever comes. How long a body may take the
    app decides (`edge.BodyLimit`), how long nothing may come between two requests its settings.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head: int = 0
    _raw: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()
        awaited = self._deadline
        super().data_received(data)
        if awaited is not None and self._deadline is awaited:
            # All of it is head: of a header without end the parser has told nothing yet.
            self._raw += len(data)
            if self._raw > MOST_HEAD_BYTES:
                self._give_up()

    def on_message_begin(self) -> None:
        self._head = 0
        if self._deadline is None:  # behind another request that is still being answered
            self._expect_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers too: they come behind the body, and are kept as headers are.
        self._count(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._cease()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cease()
        super().connection_lost(exc)

    def _count(self, part: bytes) -> None:
        self._head += len(part)
        if self._head > MOST_HEAD_BYTES:
            raise ValueError("the head of a request is too long")  # uvicorn answers 400

    def _expect_head(self) -> None:
        self._raw = 0
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._cease()
        if not self.transport.is_closing():
            self.transport.close()

    def _cease(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
