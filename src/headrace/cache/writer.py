"""Writing to the cache: batches of memberships.v1, markers, generations."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import orjson

from headrace.cache.connection import LAYOUT, address, connect, naming, root, script
from headrace.cache.model import GenerationLost, LoaderStatus, Moved
from headrace.clock import DAY, HOUR, Clock, Instant, system_clock
from headrace.messages.memberships import Activation, UserChanges

# A generation nobody has touched for this long belongs to a process that died.
ABANDONED_AFTER = HOUR
SCAN_STEP = 2_000


# A partition that passes a marker waits for the others, is the last, or meets an old one again.
Passing = Literal["waits", "last", "again"]
PASSING: Mapping[str, Passing] = {"waiting": "waits", "active": "last", "past": "again"}


@dataclass(frozen=True, slots=True)
class Step:
    """A partition moves from offset ``start`` to offset ``end``."""

    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Applied:
    """How many messages of a batch were news, and how many Redis knew already."""

    applied: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a generation is; ``waiting`` maps partitions to the marker n they wait behind."""

    offsets: Mapping[int, int]
    is_complete: bool
    waiting: Mapping[int, int]
    as_of: Instant


class Writer:
    """The cache as its one loader and rebuilds see it."""

    def __init__(
        self,
        url: str,
        namespace: str = "",
        *,
        members: bool = True,
        keep_gone: int = 30 * DAY,
        clock: Clock = system_clock,
    ) -> None:
        self._address = address(url)
        # redis-py types its answers by what they could be under any setting.
        self._redis: Any = connect(url)
        self._root = root(namespace)
        self._members = members
        self._keep_gone = keep_gone
        self._clock = clock
        # What we have begun: its token, and how many batches were loaded into it.
        self._begun: dict[str, tuple[str, int]] = {}
        self._scripts = {
            name: self._redis.register_script(script(name))
            for name in ("apply", "activate", "begin", "load", "finish")
        }

    def close(self) -> None:
        """Let go of Redis."""
        self._redis.close()

    def _run(self, name: str, *arguments: str | bytes | int) -> Any:
        with naming(self._address):
            return self._scripts[name](args=[self._root, *arguments])

    def current(self) -> str | None:
        """The generation readers see, if it is of our layout."""
        with naming(self._address):
            number = self._redis.get(f"{self._root}generation")
            epoch = self._redis.get(f"{self._root}{number}:epoch")
        return str(number) if number is not None and str(epoch or "").startswith(LAYOUT) else None

    def standing(self, generation: str) -> Standing:
        """How far a generation is; `GenerationLost` if it is gone."""
        g = f"{self._root}{generation}:"
        with naming(self._address):
            pipe = self._redis.pipeline()
            pipe.get(f"{g}epoch").hgetall(f"{g}offsets").get(f"{g}complete").hgetall(f"{g}waiting")
            pipe.get(f"{g}as_of")
            epoch, offsets, complete, waiting, as_of = pipe.execute()
        if epoch is None:
            raise GenerationLost(generation)
        return Standing(
            offsets={int(part): int(offset) for part, offset in offsets.items()},
            is_complete=complete is not None,
            waiting={int(part): int(n) for part, n in waiting.items()},
            as_of=int(as_of or 0),
        )

    def begin_generation(self, offsets: Mapping[int, int], *, as_of: Instant) -> str:
        """Open a generation that will hold everything before ``offsets``; nobody reads it yet.

        ``as_of`` is the instant that everything stands for, 0 if only the messages will tell.
        """
        token = LAYOUT + secrets.token_hex(8)
        start = {
            "token": token,
            "now": str(self._clock()),
            "as_of": str(as_of),
            "offsets": [[partition, str(offset)] for partition, offset in offsets.items()],
            "members": self._members,
        }
        generation = str(self._run("begin", orjson.dumps(start)))
        self._begun[generation] = (token, 0)
        return generation

    def load(
        self,
        generation: str,
        users: Sequence[tuple[str, list[str], str | None]],
        members: Mapping[str, Sequence[str]],
    ) -> None:
        """Write users, as they are to stand in Redis, into a generation that nobody reads."""
        token, loaded = self._begun.get(generation, ("", 0))
        batch = {
            "token": token,
            "loaded": loaded,
            "users": [(user, fields, traits or False) for user, fields, traits in users],
            "members": members if self._members else {},
        }
        if not self._run("load", generation, str(self._clock()), orjson.dumps(batch)):
            raise GenerationLost(generation)
        self._begun[generation] = (token, loaded + 1)

    def finish_generation(
        self,
        generation: str,
        *,
        active: Mapping[str, int] | None = None,
        floor: Mapping[str, int] | None = None,
        counts: Mapping[str, int] | None = None,
        as_of: Instant | None = None,
        activated: int | None = None,
    ) -> None:
        """Let everybody read ``generation``, from one instant to the next.

        Markers of batches up to ``activated`` will be passed by. Raises GenerationLost when it is
        gone, or lacks any of what was loaded into it: Redis may have come back as it was before.
        """
        token, loaded = self._begun.pop(generation, ("", 0))
        last = {
            "token": token,
            "loaded": loaded,
            "activated": "" if activated is None else str(activated),
            "active": list((active or {}).items()),
            "floor": list((floor or {}).items()),
            "counts": list((counts or {}).items()),
            "as_of": "" if as_of is None else str(as_of),
        }
        if not self._run("finish", generation, orjson.dumps(last)):
            raise GenerationLost(generation)

    def apply(
        self,
        generation: str,
        messages: Iterable[UserChanges],
        steps: Iterable[Step],
        *,
        beats: Mapping[int, Instant] | None = None,
        partitions: int = 1,
    ) -> Applied:
        """Apply a batch whole, or not at all, and move the partitions along."""
        batch = {
            "places": [[step.partition, str(step.start), str(step.end)] for step in steps],
            "users": [_row(message) for message in messages],
            "beats": [[partition, str(at)] for partition, at in (beats or {}).items()],
            "partitions": partitions,
            "members": self._members,
            "keep": str(self._keep_gone),
            "now": str(self._clock()),
        }
        answer = self._run("apply", generation, orjson.dumps(batch))
        _check(answer, generation)
        return Applied(int(answer[1]), int(answer[2]))

    def activate(
        self, generation: str, marker: Activation, step: Step, *, partitions: int
    ) -> Passing:
        """A partition passes ``marker``; when it is the last, readers see the new versions."""
        value = {
            "place": [step.partition, str(step.start), str(step.end)],
            "partitions": partitions,
            "n": str(marker.n),
            "segments": [[part.segment, part.version] for part in marker.segments],
            "retired": marker.retired,
        }
        answer = self._run("activate", generation, orjson.dumps(value))
        _check(answer, generation)
        return PASSING[answer[0]]

    def condemn(self, generation: str) -> None:
        """Let nobody read ``generation`` any more: something in it was lost."""
        with naming(self._address):
            self._redis.delete(f"{self._root}{generation}:complete")

    def caught_up(self, generation: str, at: Instant) -> None:
        """Nothing was left to apply at ``at``, and nobody else tells how fresh that is."""
        with naming(self._address):
            self._redis.set(f"{self._root}{generation}:as_of", at, xx=True)

    def report(self, status: LoaderStatus) -> None:
        """Leave word for the API and ``headrace status``."""
        with naming(self._address):
            self._redis.set(f"{self._root}loader", orjson.dumps(asdict(status)))

    def sweep(self) -> int:
        """Remove generations that were replaced or abandoned; how many keys went.

        Of the one that is read, what users keep of segments that ended.
        """
        with naming(self._address):
            known = self._redis.hgetall(f"{self._root}generations")
            current = self._redis.get(f"{self._root}generation")
            removed = 0
            for number, touched in known.items():
                if number == current:
                    self._forget_ended(number)
                if number in ("next", current):
                    continue
                replaced = current is not None and int(number) < int(current)
                if replaced or self._clock() - int(touched) > ABANDONED_AFTER:
                    removed += self._remove(number)
        return removed

    def _remove(self, number: str) -> int:
        g = f"{self._root}{number}:"
        # Without an epoch nobody writes to it any more, so nothing grows behind the scan.
        self._redis.unlink(f"{g}epoch")
        removed = sum(int(self._redis.unlink(*keys)) for keys in self._keys(g))
        self._redis.hdel(f"{self._root}generations", number)
        return removed

    def _forget_ended(self, number: str) -> None:
        g = f"{self._root}{number}:"
        entries = self._redis.smembers(f"{g}ended")
        if not entries:
            return
        for keys in self._keys(f"{g}user:"):
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.hdel(key, *entries)
            pipe.execute()
        self._redis.srem(f"{g}ended", *entries)

    def _keys(self, beginning: str) -> Iterator[list[str]]:
        """All keys that begin so, some at a time."""
        pattern = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in beginning) + "*"
        cursor = 0
        while True:
            cursor, keys = self._redis.scan(cursor, match=pattern, count=SCAN_STEP)
            if keys:
                yield keys
            if cursor == 0:
                break


def _check(answer: Sequence[Any], generation: str) -> None:
    if answer[0] == "lost":
        raise GenerationLost(generation)
    if answer[0] == "moved":
        raise Moved(int(answer[1]), int(answer[2]) if answer[2] else None)


def _row(message: UserChanges) -> list[Any]:
    changes: list[Any] = []
    measures: dict[str, str] = {}
    for change in message.changes:
        if change.ends:
            continue  # readers see it at the marker, of everybody at once
        sign = f"+{change.effective_at}" if change.entered else "-"
        changes += (change.segment, change.version, sign)
        for name, value in change.measures.items():
            measures[f"m:{name}"] = f"{'' if value is None else value}@{change.at}"
    return [
        message.user,
        str(message.n),
        str(message.at),
        changes,
        False if message.traits is None else message.traits,
        [text for pair in measures.items() for text in pair],
        int(message.deleted or message.merged_into is not None),
        message.merged_into or "",
    ]
