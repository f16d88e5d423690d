"""The cache as the loader and a reload write it."""

from __future__ import annotations

from headrace.cache.writer import Writer
from headrace.messages.topics import MEMBERSHIPS, topic
from headrace.settings import Settings


def open_writer(settings: Settings) -> Writer:
    """A writer of the cache that ``settings`` name."""
    return Writer(
        settings.redis_url.get_secret_value(),
        settings.namespace,
        members=settings.cache.members,
        # As long as a message from before a user was gone can still arrive.
        keep_gone=topic(MEMBERSHIPS).retention_ms,
    )
