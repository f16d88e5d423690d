"""Rejected messages: read from the dead-letter topic, and sent again, repaired or as they were.

Each goes to the topic it came from. Sent again, a message has the event id it had, or one made of
its place: while the stream remembers ids, a repeat does not count, and Postgres remembers for good
which messages have been sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

import orjson

from headrace.clock import Instant
from headrace.errors import OperatorError
from headrace.jobs.by_hand import noted
from headrace.kafka.confluent import ConfluentConsumer, ConfluentProducer
from headrace.messages.codec import BadMessage
from headrace.messages.headers import DeadLetter, decode_dead_letter
from headrace.messages.topics import DEAD, EVENTS, in_namespace
from headrace.rules.fixes import Fix, Unfixable
from headrace.settings import Settings
from headrace.store import Store, StoreDown
from headrace.store.audit import Entry
from headrace.store.leases import new_holder

AT_ONCE = 1_000
LEASE = "replay"
HELD = timedelta(minutes=10)  # reading the topic for the next portion takes less
PATIENCE_SECONDS = 15.0
WITHOUT_ID = ("traits", "alias", "delete")  # said twice they say the same


@dataclass(frozen=True, slots=True)
class Letter:
    """A rejected message and when it was rejected."""

    dead: DeadLetter
    at: Instant


@dataclass(slots=True)
class Replay:
    """What became of letters: sent again, sent again before, or why they could not be."""

    sent: int = 0
    before: int = 0
    unfixable: dict[str, str] = field(default_factory=dict)


def dead_letters(settings: Settings, chosen: Callable[[Letter], bool]) -> Iterator[Letter]:
    """The chosen ones of all letters the topic holds, each once, in the order of their rejection.

    Raises OperatorError when the broker does not answer, or holds less than it says.
    """
    topic = in_namespace(settings.namespace, DEAD)
    seen: set[str] = set()
    with ConfluentConsumer(settings.kafka_bootstrap, topic, "headrace-letters") as consumer:
        bounds = {part: b for part, b in consumer.bounds().items() if b.end > b.start}
        consumer.start_at({part: bound.start for part, bound in bounds.items()})
        unread, heard = set(bounds), time.monotonic()
        while unread:
            records = consumer.poll(AT_ONCE, 0.2)
            if records:
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE_SECONDS:
                raise OperatorError(f"{topic} gives no more of what it says it holds", code="HR940")
            for record in records:
                if record.offset + 1 >= bounds[record.partition].end:
                    unread.discard(record.partition)
                try:
                    dead = decode_dead_letter(record.value, record.headers)
                except BadMessage:
                    continue  # not of ours
                letter = Letter(dead, record.timestamp)
                # A batch that was repeated after a crash has sent them again.
                if dead.place not in seen and chosen(letter):
                    seen.add(dead.place)
                    yield letter


def portions(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    """Some at a time: as many as Postgres is asked about at once."""
    remaining = iter(letters)
    while some := list(islice(remaining, AT_ONCE)):
        yield some


def replay(
    settings: Settings,
    store: Store,
    letters: Iterable[Letter],
    *,
    fix: Fix | None,
    by: str = "",
    dry_run: bool = False,
) -> Replay:
    """Send ``letters`` again, by ``fix`` where it is given, in the name of ``by``.

    What has been sent again before is not; nor is anything in a ``dry_run``.
    """
    done = Replay()
    if dry_run:
        for some in portions(letters):
            _again(settings, store, some, fix, done)
        return done
    about = {"by": by, "sent": 0, "before": 0, "unfixable": 0}
    with (
        _alone(store) as holds_on,
        noted(settings, "replay", about) as note,
        ConfluentProducer(settings.kafka_bootstrap) as producer,
    ):
        for some in portions(letters):
            holds_on()
            ready = _again(settings, store, some, fix, done)
            for letter, value in ready:
                producer.send(letter.dead.topic, value=value, key=_key(value))
            producer.flush()
            # After the broker has them: who dies in between sends them twice, never not at all.
            store.note_replayed([letter.dead.place for letter, _ in ready])
            told = {"sent": done.sent, "before": done.before, "unfixable": len(done.unfixable)}
            note(told)
        entry = Entry(action="letters.replay", subject=DEAD, after={"sent": done.sent})
        store.record(by, entry)
    return done


@contextmanager
def _alone(store: Store) -> Iterator[Callable[[], None]]:
    """One replay at a time: two could both find that a message has not been sent again.

    Whoever holds on says so before each portion. OperatorError where another is under way.
    """
    holder = new_holder()
    if store.take_lease(LEASE, holder, HELD) is None:
        raise OperatorError(
            f"another replay is under way, by {store.lease_holder(LEASE)}, or was cut off less than"
            f" {HELD.seconds // 60} minutes ago",
            code="HR967",
        )

    def holds_on() -> None:
        if not store.renew_lease(LEASE, holder, HELD):
            raise OperatorError("another replay has begun: this one ends", code="HR967")

    try:
        yield holds_on
    finally:
        with suppress(StoreDown):
            store.release_lease(LEASE, holder)


def require_all(letters: Sequence[Letter], places: Collection[str]) -> None:
    """OperatorError for each of ``places`` at which there is no letter."""
    missing = sorted({*places} - {letter.dead.place for letter in letters})
    if missing:
        raise OperatorError(
            f"no rejected message at {', '.join(missing)}; `headrace dlq list` names the newest",
            code="HR941",
        )


def _again(
    settings: Settings, store: Store, some: Sequence[Letter], fix: Fix | None, done: Replay
) -> list[tuple[Letter, bytes]]:
    """Those of ``some`` that have not been sent again and can be, each with its new value."""
    known = store.replayed([letter.dead.place for letter in some])
    fresh = [one for one in some if one.dead.place not in known]
    ready = _repaired(fresh, fix, done, in_namespace(settings.namespace, EVENTS))
    done.before += len(known)
    done.sent += len(ready)
    return ready


def _repaired(
    letters: Sequence[Letter], fix: Fix | None, done: Replay, ours: str
) -> list[tuple[Letter, bytes]]:
    """Each letter that can be sent, and its new value; ``done`` notes the others."""
    ready = []
    for letter in letters:
        try:
            value = letter.dead.raw if fix is None else fix.applied(letter.dead.raw)
        except Unfixable as error:
            done.unfixable[letter.dead.place] = str(error)
            continue
        # What is mapped by a stream has the form of others, and is theirs to give an id to.
        is_ours = letter.dead.topic == ours
        ready.append((letter, _with_id(value, letter.dead.place) if is_ours else value))
    return ready


def _with_id(value: bytes, place: str) -> bytes:
    line = _object(value)
    if line is None or line.get("event_id") is not None or line.get("type") in WITHOUT_ID:
        return value
    return orjson.dumps({**line, "event_id": f"letter:{place}"})


def _key(value: bytes) -> bytes:
    user = (_object(value) or {}).get("user_id")
    return user.encode() if isinstance(user, str) else b""


def _object(value: bytes) -> dict[str, object] | None:
    try:
        line = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return line if type(line) is dict else None
