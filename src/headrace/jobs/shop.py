"""The seeded shop: what the demo's customers do, the usual trouble of a real producer included.

Same seed, same start, same calls: same messages. Customers are drawn by Zipf's law, amounts are
log-normal; about one message in a hundred is sent twice, some come late, some slightly ahead of
their time, and some are garbage of every kind the door must refuse. Some visitors turn out to be
customers, and some customers ask to be forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from headrace.clock import DAY, MINUTE, SECOND, Instant
from headrace.jobs.shop_garbage import GARBAGE

Kind = Literal["event", "duplicate", "garbage"]


class Message(NamedTuple):
    """One Kafka record of ``events.v1``, and what it is meant to become."""

    key: bytes
    value: bytes
    kind: Kind


class Draw(NamedTuple):
    """The dice of one event: an amount with two decimals, a small number and a wide one."""

    amount: float
    small: int
    wide: int


@dataclass(frozen=True, slots=True)
class Habit:
    """One event type: how often it happens, and what it carries."""

    share: float
    properties: Callable[[Draw], Mapping[str, Any]]


PAGES = ("/", "/pricing", "/sale", "/cart", "/account", "/help", "/product", "/search")
CATEGORIES = ("shoes", "books", "garden", "toys", "kitchen")
QUERIES = ("boots", "gift for dad", "lamp", "tent", "gift card", "mug")
COUNTRIES = ("DE", "FR", "US", "GB", "ES", "IT", "NL", "PL", "SE", "NO")
TAGS = ("vip", "newsletter", "beta", "student", "wholesale")
PLANS = ("free", "plus", "pro")

HABITS: Mapping[str, Habit] = {
    "page_view": Habit(
        0.40, lambda d: {"page": PAGES[d.small % 8], "seconds": round(d.amount / 4, 2)}
    ),
    "login": Habit(
        0.16,
        lambda d: {
            "method": ("password", "google", "link")[d.small % 3],
            "device": ("phone", "desktop")[d.wide % 2],
        },
    ),
    "purchase": Habit(
        0.14,
        lambda d: {
            "amount": d.amount,
            "sku": f"sku-{d.wide % 500}",
            "category": CATEGORIES[d.wide % 5],
            "items": 1 + d.small % 5,
        },
    ),
    "add_to_cart": Habit(0.10, lambda d: {"sku": f"sku-{d.wide % 500}", "amount": d.amount}),
    "search": Habit(0.07, lambda d: {"query": QUERIES[d.small % 6], "results": d.wide % 40}),
    "email_open": Habit(0.06, lambda d: {"campaign": f"c{d.wide % 12}"}),
    "review": Habit(0.03, lambda d: {"sku": f"sku-{d.wide % 500}", "stars": 1 + d.small % 5}),
    "refund": Habit(0.02, lambda d: {"amount": round(d.amount / 2, 2), "reason": "too late"}),
    "support_ticket": Habit(
        0.02,
        lambda d: {
            "topic": ("complaint: parcel", "question", "invoice")[d.wide % 3],
            "priority": 1 + d.small % 4,
        },
    ),
}

TRAITS_SHARE = 0.03  # of live messages
DUPLICATES = 0.01
LATE = 0.03
AHEAD = 0.001
SIGN_INS = 0.003  # of messages: a visitor did that, and turns out to be a customer
FORGOTTEN = 0.0001  # of messages: their customer is forgotten at that moment
LIVE_GARBAGE = 0.001
HISTORY_GARBAGE = 300
RECENT = 2_000  # repeats are of the newest so many: duplicates are known by 1,024 ids a user


class Shop:
    """A shop with ``users`` customers; ``start`` makes its event ids its own."""

    def __init__(self, *, seed: int, users: int, start: Instant) -> None:
        self.start = start
        self._random = np.random.default_rng(seed)
        names = self._random.permutation(users)
        self.users: Sequence[str] = [f"user-{name:05d}" for name in range(users)]
        weights = 1.0 / np.arange(1, users + 1) ** 0.7
        self._ranked = names
        self._chances = np.cumsum(weights / weights.sum())
        shares = np.array([habit.share for habit in HABITS.values()])
        self._types = list(HABITS)
        self._type_chances = np.cumsum(shares / shares.sum())
        self._sent = 0
        self._recent: deque[Message] = deque(maxlen=RECENT)

    def history(self, events: int, *, days: int = 40) -> Iterator[Message]:
        """``events`` messages of the last ``days``, almost in order; on top of that sign-ins,
        deletions, repeats and garbage.

        Every customer signs up in it: one traits message each is among them.
        """
        signups = min(len(self.users), events)
        stamps = self.start - self._random.integers(1, days * DAY, size=events - signups)
        lines = list(self._lines(self._people(events - signups), stamps))
        lines += [
            self._signup(user, self.start - days * DAY + int(offset))
            for user, offset in zip(
                self.users[:signups],
                self._random.integers(0, days * DAY, size=signups),
                strict=True,
            )
        ]
        arrival = np.array([line[0] for line in lines], dtype=np.int64)
        late = self._random.random(len(lines)) < LATE
        arrival = arrival + late * self._random.integers(0, 2 * DAY, size=len(lines))
        ordered = [lines[index][1] for index in np.argsort(arrival, kind="stable")]
        yield from self._with_trouble(ordered, HISTORY_GARBAGE / max(events, 1), self.start)

    def live(self, count: int, now: Instant) -> list[Message]:
        """About ``count`` messages of the moment ``now``."""
        late = self._random.random(count) < LATE
        ahead = self._random.random(count) < AHEAD
        stamps = (
            now
            - self._random.integers(0, SECOND, size=count)
            - late * self._random.integers(0, 10 * MINUTE, size=count)
            + ahead * self._random.integers(0, MINUTE, size=count)
        )
        changed = self._random.random(count) < TRAITS_SHARE
        people = self._people(count)
        events = self._lines(people, stamps)
        lines = [
            self._change(self.users[person], int(stamp)) if change else line
            for change, person, stamp, (_, line) in zip(
                changed, people, stamps, events, strict=True
            )
        ]
        return list(self._with_trouble(lines, LIVE_GARBAGE, now))

    def _people(self, count: int) -> NDArray[np.int64]:
        ranks = np.searchsorted(self._chances, self._random.random(count))
        return np.asarray(self._ranked[np.minimum(ranks, len(self.users) - 1)], dtype=np.int64)

    def _lines(
        self, people: NDArray[np.int64], stamps: NDArray[np.int64]
    ) -> Iterator[tuple[Instant, Message]]:
        count = len(people)
        kinds = np.searchsorted(self._type_chances, self._random.random(count)).tolist()
        amounts = np.round(self._random.lognormal(3.4, 1.0, size=count) + 0.01, 2).tolist()
        small = self._random.integers(0, 1 << 16, size=count).tolist()
        wide = self._random.integers(0, 1 << 30, size=count).tolist()
        for person, stamp, kind, *dice in zip(
            people.tolist(), stamps.tolist(), kinds, amounts, small, wide, strict=True
        ):
            name = self._types[kind]
            properties = HABITS[name].properties(Draw(*dice))
            yield (
                stamp,
                self._message(self.users[person], name, stamp, properties=properties),
            )

    def _signup(self, user: str, stamp: Instant) -> tuple[Instant, Message]:
        dice = self._random.integers(0, 1 << 30, size=4).tolist()
        traits: dict[str, Any] = {
            "country": COUNTRIES[dice[0] % 10],
            "age": 18 + dice[1] % 60,
            "email": f"{user}@example.org",
            "signed_up": stamp - dice[2] % (300 * DAY),
            "tags": [tag for bit, tag in enumerate(TAGS) if dice[3] >> bit & 3 == 3],
            "plan": PLANS[dice[3] % 3],
        }
        if dice[2] % 3:  # a third was never asked
            traits["marketing_consent"] = dice[2] % 3 == 1
        return stamp, self._message(user, "traits", stamp, traits=traits)

    def _change(self, user: str, stamp: Instant) -> Message:
        one, two = self._random.integers(0, 1 << 30, size=2).tolist()
        changes: tuple[Mapping[str, Any], ...] = (
            {"country": COUNTRIES[two % 10]},
            {"age": 18 + two % 60},
            {"tags": [TAGS[two % 5]]},
            {"email": None},
            {"marketing_consent": two % 2 == 0},
        )
        return self._message(user, "traits", stamp, traits=changes[one % 5])

    def _message(self, user: str, name: str, stamp: Instant, **content: Any) -> Message:
        self._sent += 1
        line = {
            "event_id": f"{self.start:x}-{self._sent:x}",
            "user_id": user,
            "type": name,
            "ts": int(stamp),
            **content,
        }
        return Message(user.encode(), orjson.dumps(line), "event")

    def _with_trouble(
        self, messages: Sequence[Message], garbage: float, now: Instant
    ) -> Iterator[Message]:
        """The messages in order, with repeats of recent ones and garbage in between."""
        repeated = self._random.random(len(messages)) < DUPLICATES
        bad = self._random.random(len(messages)) < garbage
        met = self._random.random((2, len(messages))) < [[SIGN_INS], [FORGOTTEN]]
        for message, repeat, trouble, joins, ends in zip(
            messages, repeated.tolist(), bad.tolist(), *met.tolist(), strict=True
        ):
            if joins:
                message, link = self._sign_in(message)
                yield link
            self._recent.append(message)
            yield message
            if ends:
                yield self._deletion(message)
            if repeat:
                again = self._recent[int(self._random.integers(len(self._recent)))]
                yield again._replace(kind="duplicate")
            if trouble:
                yield self._garbage(message, now)

    def _sign_in(self, message: Message) -> tuple[Message, Message]:
        """The message as a visitor's, and the join that says which customer that was."""
        self._sent += 1
        line = orjson.loads(message.value)
        visitor = f"visitor-{self.start:x}-{self._sent:x}"
        link = {"type": "alias", "from": visitor, "to": line["user_id"], "ts": line["ts"]}
        sent = orjson.dumps({**line, "user_id": visitor})
        return (
            Message(visitor.encode(), sent, "event"),
            Message(message.key, orjson.dumps(link), "event"),
        )

    def _deletion(self, message: Message) -> Message:
        line = orjson.loads(message.value)
        link = {"type": "delete", "user_id": line["user_id"], "ts": line["ts"]}
        return Message(message.key, orjson.dumps(link), "event")

    def _garbage(self, near: Message, now: Instant) -> Message:
        self._sent += 1
        make = GARBAGE[self._sent % len(GARBAGE)].make
        value = make(f"{self.start:x}-{self._sent:x}", near.key.decode(), now)
        return Message(near.key, value, "garbage")


__all__ = ["HABITS", "Draw", "Habit", "Kind", "Message", "Shop"]
