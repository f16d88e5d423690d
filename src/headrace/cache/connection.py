"""Connections to Redis, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from headrace.cache.model import CacheDown

# The layout of the keys; part of every epoch, so that data of another layout is never believed.
LAYOUT = "1."
PATIENCE_SECONDS = 5.0
# Answers that mean "not now", where others mean that we asked something wrong.
NOT_NOW = ("OOM", "LOADING", "READONLY", "MISCONF", "NOAUTH", "WRONGPASS", "BUSY", "MASTERDOWN")


def root(namespace: str) -> str:
    """What stands before every key."""
    return f"{namespace}hr:"


def address(url: str) -> str:
    """Host and port of a URL, without user and password."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
    except ValueError:
        return ""


@cache
def script(name: str) -> str:
    """The Lua text of a script beside this module."""
    return (files(__package__) / "scripts" / f"{name}.lua").read_text()


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Turn Redis's own errors into `CacheDown` at ``where``."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise CacheDown(where, error) from error
    except redis.ResponseError as error:
        if str(error).startswith(NOT_NOW):
            raise CacheDown(where, error) from error
        raise


def connect(url: str) -> redis.Redis:
    """A connection for a process of its own. It does not retry: its owner knows when to."""
    if not url:
        raise CacheDown("")
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=PATIENCE_SECONDS * 6,  # a large sorted set may take seconds to merge
            socket_connect_timeout=PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise CacheDown(address(url), error) from error


def connect_async(url: str, connections: int) -> redis.asyncio.Redis:
    """A pool that makes callers wait when it is used up, where others raise."""
    if not url:
        raise CacheDown("")
    try:
        pool: redis.asyncio.BlockingConnectionPool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            decode_responses=True,
            max_connections=connections,
            timeout=PATIENCE_SECONDS,
            socket_timeout=PATIENCE_SECONDS,
            socket_connect_timeout=2,
            retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise CacheDown(address(url), error) from error
    return redis.asyncio.Redis(connection_pool=pool)
