"""How much somebody may send, and how often an address may try keys."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import HTTPConnection

from headrace.serving.problems import Problem

MOST_REMEMBERED: Final = 10_000
# Wrong keys of one address: so many at once, and one a second. Guessing is hopeless anyway; this
# keeps the noise down.
WRONG_KEYS: Final = 60

Monotonic = Callable[[], float]


@dataclass(slots=True)
class Bucket:
    """Tokens that come back at ``rate`` a second, up to ``most``."""

    rate: float
    most: float
    left: float
    at: float

    def take(self, amount: float, now: float) -> float:
        """Take ``amount`` if it is there: 0, else the seconds until it may be.

        More than the bucket holds is given when it is full, and owed.
        """
        self.left = min(self.most, self.left + (now - self.at) * self.rate)
        self.at = now
        wanted = max(1.0, min(amount, self.most))  # to take nothing is to ask whether there is any
        if self.left >= wanted:
            self.left -= amount
            return 0.0
        return (wanted - self.left) / self.rate


class Buckets:
    """One bucket for each name; the ones not used for longest are forgotten first."""

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        self._monotonic = monotonic
        self._by_name: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, name: str, amount: float, *, rate: float, most: float) -> int:
        """Take ``amount`` from the bucket of ``name``: 0, else whole seconds to wait."""
        now = self._monotonic()
        bucket = self._by_name.get(name)
        if bucket is None or (bucket.rate, bucket.most) != (rate, most):
            bucket = self._by_name[name] = Bucket(rate, most, most, now)
        self._by_name.move_to_end(name)
        if len(self._by_name) > MOST_REMEMBERED:
            self._by_name.popitem(last=False)
        return math.ceil(bucket.take(amount, now))


class Guesses:
    """Wrong keys by address: that of who is connected, whatever headers say of others."""

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        # Apart from other buckets: strangers must not have those of others forgotten.
        self._peers = Buckets(monotonic)

    def count(self, connection: HTTPConnection, wrong: int = 1) -> None:
        """Note a wrong key, or none; Problem 429 where there have been too many."""
        peer = connection.client.host if connection.client else ""
        wait = self._peers.take(peer, wrong, rate=1, most=WRONG_KEYS)
        if wait:
            detail = "too many wrong keys from this address"
            raise too_many("too-many-wrong-keys", detail, wait)


def too_many(code: str, detail: str, wait: int) -> Problem:
    """429: in ``wait`` seconds there may be more."""
    return Problem(429, code, detail, headers={"Retry-After": str(wait)})
