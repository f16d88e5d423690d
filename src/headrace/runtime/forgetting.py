"""One user forgotten: asked of the stream, awaited online, and put down in a receipt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from headrace.cache.model import CacheDown, Incomplete
from headrace.cache.reads import CachedMemberships
from headrace.clock import SECOND, Clock, Instant, system_clock
from headrace.errors import OperatorError
from headrace.kafka.confluent import ConfluentConsumer, ConfluentProducer
from headrace.messages.topics import EVENTS, in_namespace
from headrace.runtime.publication import JOB
from headrace.settings import Settings
from headrace.settings.keys import known_tombstone_key
from headrace.store import Receipt, Store

PATIENCE_SECONDS = 300.0  # copies online are promised to be gone within five minutes
LOOK_EVERY_SECONDS = 0.5


def forget(
    store: Store,
    settings: Settings,
    user: str,
    *,
    patience: float = PATIENCE_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
    clock: Clock = system_clock,
) -> Receipt:
    """Forget everything of ``user`` up to now; returns when nothing online knows it any more.

    A request that is still open is gone on with, not made again. ``tell`` hears what is waited for.
    Raises OperatorError after ``patience`` seconds; the request stands.
    """
    secret = known_tombstone_key(settings)
    receipt = store.ask_to_forget(Receipt.asked(user, secret, at=clock()))
    wait = _Wait(time.monotonic() + patience, patience, receipt.id, tell)
    ends = _send(settings, user, receipt.forgotten_until)
    n, now = _await_stream(store, settings, ends, receipt.forgotten_until, wait)
    asyncio.run(_await_cache(settings, user, now, wait))
    done = replace(receipt, carried_out_at=clock(), n=n).signed(secret)
    store.keep_receipt(done)
    return done


@dataclass(slots=True)
class _Wait:
    deadline: float
    patience: float
    receipt: str
    tell: Callable[[str], None] = field(repr=False)

    def until(self, what: str) -> float:
        """Say what is waited for; the seconds to sleep. Raises OperatorError when it is too late"""
        self.tell(what)
        left = self.deadline - time.monotonic()
        if left < 0:
            raise OperatorError(
                f"not forgotten everywhere after {self.patience:.0f} s: waiting for {what}; "
                f"the request stands (receipt {self.receipt}), and the same command goes on "
                "waiting for it; `headrace status` says how every part is",
                code="HR919",
            )
        return LOOK_EVERY_SECONDS


def _send(settings: Settings, user: str, ts: Instant) -> Mapping[int, int]:
    """Send the deletion, which says the same when sent again; where each partition ends then."""
    topic = in_namespace(settings.namespace, EVENTS)
    fact = {"type": "delete", "user_id": user, "ts": ts}
    with ConfluentProducer(settings.kafka_bootstrap) as producer:
        producer.send(topic, key=user.encode(), value=orjson.dumps(fact))
        producer.flush()
    with ConfluentConsumer(settings.kafka_bootstrap, topic, f"{topic}-forget") as consumer:
        return {part: bound.end for part, bound in consumer.bounds().items()}


def _await_stream(
    store: Store, settings: Settings, ends: Mapping[int, int], ts: Instant, wait: _Wait
) -> tuple[int, Instant]:
    """Number and now of a batch by which everything before ``ends`` was read and carried out."""
    topic = in_namespace(settings.namespace, EVENTS)
    while True:
        launch = next(iter(store.live_progress(JOB)), None)
        told: Mapping[str, Any] = launch.details if launch else {}
        read = told.get("ends", {}).get(topic, {})
        unread = sum(max(0, end - read.get(str(part), 0)) for part, end in ends.items())
        # A deletion whose time is to come waits for it; one beside a hand-over, for that.
        if told.get("linked") and not unread and told["now"] >= ts:
            return told["n"], told["now"]
        if launch is None:
            what = "the streaming job, which does not run"
        elif unread:
            what = f"the streaming job, which has yet to read {unread} messages"
        else:
            what = "the streaming job, which carries deletions out after the change of rules"
        time.sleep(wait.until(what))


async def _await_cache(settings: Settings, user: str, now: Instant, wait: _Wait) -> None:
    """Return when Redis has everything up to ``now``, of all ids that were joined with ``user``.

    Who is known of all the same is so by what came later.
    """
    cache = CachedMemberships(settings.redis_url.get_secret_value(), settings.namespace)
    try:
        while True:
            what = "the loader"
            try:
                found = await cache.users([user])
                if found.as_of > now or (found.as_of == now and found.users == (None,)):
                    return
                what = f"the loader, which is {(now - found.as_of) / SECOND:.1f} s behind"
            except Incomplete:
                what = "Redis to be filled"
            except CacheDown as error:
                what = str(error)
            await asyncio.sleep(wait.until(what))
    finally:
        await cache.close()
