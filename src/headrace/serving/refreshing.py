"""Knowledge that is read anew every few seconds, for as long as a process lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()


async def keep_fresh(refresh: Callable[[], Awaitable[None]], *, seconds: float, stale: str) -> None:
    """Refresh until cancelled. What is known stays while that fails; the log says ``stale``, once
    for each reason."""
    told = ""
    while True:
        try:
            await refresh()
            told = ""
        except Exception as error:  # the outermost loop: what is known is answered all the same
            if str(error) != told:
                log.warning(stale, error=str(error))
            told = str(error)
        await asyncio.sleep(seconds)
