"""HTTP from clients who get to the point: the head of a request comes soon, and is no book."""

from __future__ import annotations

import asyncio
from typing import Any, Final

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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        is_idle = self.cycle is None or self.cycle.response_complete
        if self._deadline is None and is_idle:
            self._expect_head()
        super().data_received(data)
        if self._deadline is not None:
            self._head += len(data)
            if self._head > MOST_HEAD_BYTES:
                self._give_up()

    def on_headers_complete(self) -> None:
        self._cease()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cease()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head = 0
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._cease()
        transport: Any = self.transport
        if not transport.is_closing():
            transport.close()

    def _cease(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
