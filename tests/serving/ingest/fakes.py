"""A broker, and what is known, as tests have them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headrace.kafka.acked import MOST_WAITING, Busy, Message, Unsent
from headrace.rules.catalog import Catalog, Computed, EventType, Field
from headrace.rules.model import Measure
from headrace.store import Source, StoreDown, StoredStream
from headrace.store.sources import hashed

CATALOG = Catalog(
    {"purchase": EventType({"amount": Field("decimal"), "sku": Field("string")})},
    {"age": Field("integer")},
    {"lifetime_value": Computed(Measure("sum", "purchase", "amount"))},
    events_mode="freeze",
)
KEY, LIMITED, TRUSTED = "hrw_shop", "hrw_limited", "hrw_backend"
SOURCES = (
    Source(
        name="shop",
        key_hash=hashed(KEY),
        key_hint="hrw_shop",
        origins=("https://shop.example",),
        events_per_second=10_000,
    ),
    Source(
        name="limited",
        key_hash=hashed(LIMITED),
        key_hint="hrw_limi",
        events_per_second=10,
        may_join=False,
    ),
    Source(
        name="backend",
        key_hash=hashed(TRUSTED),
        key_hint="hrw_back",
        events_per_second=10_000,
        may_delete=True,
    ),
)


@dataclass
class FakeDefinitions:
    """Sources and catalog, or a Postgres that is away."""

    found: tuple[Source, ...] = SOURCES
    is_down: bool = False
    onboarded: tuple[StoredStream, ...] = ()

    def sources(self) -> list[Source]:
        if self.is_down:
            raise StoreDown("away")
        return list(self.found)

    def catalog(self) -> Catalog | None:
        return CATALOG

    def streams(self) -> list[StoredStream]:
        return list(self.onboarded)


@dataclass
class FakeBroker:
    """Answers from another thread; of what comes while it is away it takes ``takes`` messages, and
    what goes to one of the topics that are ``gone`` it never takes."""

    is_away: bool = False
    is_busy: bool = False
    takes: int = 0
    gone: tuple[str, ...] = ()
    log: list[Message] = field(default_factory=list)

    def send(self, messages: Sequence[Message], answered: Callable[[Unsent], None]) -> None:
        if self.is_busy or len(messages) > MOST_WAITING:
            raise Busy
        taken = self.takes if self.is_away else len(messages)
        here = [place for place in range(taken) if messages[place].topic not in self.gone]
        self.log += [messages[place] for place in here]
        unsent = tuple(place for place in range(len(messages)) if place not in here)
        threading.Timer(0.002, answered, (unsent,)).start()

    def close(self) -> None:
        pass
