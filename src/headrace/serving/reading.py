"""The tables for an API: few read them at once, in threads of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

AT_ONCE: Final = 4
"""Each takes what a core gives for tens of milliseconds, or more: others wait for their turn, not
for a thread that the rest of the API needs."""


class Readers:
    """Runs whatever reads the tables."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tables")

    async def __call__(self, read: Callable[[], T]) -> T:
        """What ``read`` returns, or raises."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, read)

    def close(self) -> None:
        """Begin nothing that waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)
