"""A topic in memory, and histories of memberships to put on it."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from headrace.kafka.client import Bounds, Record
from headrace.messages.memberships import (
    Activated,
    Activation,
    Change,
    MembershipMessage,
    UserChanges,
    encode_membership,
)

PARTITIONS = 2


def partition_of(user: str) -> int:
    return zlib.crc32(user.encode()) % PARTITIONS


@dataclass
class Log:
    """The partitions of one topic."""

    partitions: tuple[list[bytes], ...] = field(
        default_factory=lambda: tuple([] for _ in range(PARTITIONS))
    )
    start: int = 0

    def put(self, message: MembershipMessage) -> None:
        if isinstance(message, UserChanges):
            self.partitions[partition_of(message.user)].append(encode_membership(message))
        else:
            for rows in self.partitions:
                rows.append(encode_membership(message))


@dataclass
class LogConsumer:
    """Reads a `Log` in the bites it is told; stops the loader when nothing is left."""

    log: Log
    stopping: threading.Event
    bites: list[tuple[int, int]] = field(default_factory=list)
    crash_after: int | None = None
    position: dict[int, int] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    idle: int = 0
    noted: dict[int, int] = field(default_factory=dict)

    def bounds(self) -> dict[int, Bounds]:
        return {
            part: Bounds(self.log.start, len(rows)) for part, rows in enumerate(self.log.partitions)
        }

    def start_at(self, offsets: Mapping[int, int]) -> None:
        self.position, self.paused = dict(offsets), set()

    def poll(self, limit: int, seconds: float) -> list[Record]:
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                raise KeyboardInterrupt
        part, size = self.bites.pop() if self.bites else (len(self.noted) % PARTITIONS, limit)
        wanted = [part] if self.bites else list(self.position)
        rows: list[Record] = []
        for part in wanted:
            if part in self.paused:
                continue
            at = self.position[part]
            for offset in range(at, min(at + size, len(self.log.partitions[part]))):
                rows.append(Record(part, offset, 0, b"", self.log.partitions[part][offset]))
                self.position[part] = offset + 1
        self.idle = 0 if rows or self.bites else self.idle + 1
        if self.idle > 60:  # the loader may still work on what it has queued
            self.stopping.set()
        return rows

    def pause(self, partitions: Collection[int]) -> None:
        self.paused |= set(partitions)

    def resume(self, partitions: Collection[int]) -> None:
        self.paused -= set(partitions)

    def commit(self, offsets: Mapping[int, int]) -> None:
        self.noted = dict(offsets)

    def committed(self) -> dict[int, int]:
        return self.noted

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class World:
    """What must be true, told in the plainest way, while batches are written to a log."""

    log: Log = field(default_factory=Log)
    n: int = 0
    active: dict[str, int] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def batch(self, messages: list[UserChanges], marker: Activation | None, repeat: int) -> None:
        """Publish a batch whose first ``repeat`` messages got out before a crash, too."""
        everything = [*messages, *([marker] if marker else [])]
        for message in everything[:repeat] + everything:
            self.log.put(message)

    def change(self, moves: list[tuple[str, str, bool]], repeat: int) -> None:
        """Users enter and leave active segments."""
        self.n += 1
        moves = [move for move in moves if move[1] in self.active]
        by_user: dict[str, dict[str, bool]] = {}
        for user, segment, enters in moves:
            by_user.setdefault(user, {})[segment] = enters
        messages = []
        for user, segments in by_user.items():
            self.known.add(user)
            changes = []
            for segment, enters in segments.items():
                self._move(user, segment, enters)
                changes.append(self._one(user, segment, self.active[segment], enters))
            messages.append(self._message(user, changes))
        self.batch(messages, None, repeat)

    def see(self, user: str, repeat: int) -> None:
        """A user without any change is seen."""
        self.n += 1
        self.known.add(user)
        self.batch([self._message(user, [])], None, repeat)

    def forget(self, user: str, into: str | None, repeat: int) -> None:
        """A user is deleted, or joined to another."""
        self.n += 1
        changes = [
            self._one(user, segment, self.active[segment], False)
            for segment, users in self.members.items()
            if user in users and segment in self.active
        ]
        for users in self.members.values():
            users.discard(user)
        self.known.discard(user)
        self.batch(
            [
                UserChanges(
                    user=user, n=self.n, at=self.n, changes=tuple(changes),
                    deleted=into is None, merged_into=into,
                )
            ],
            None,
            repeat,
        )  # fmt: skip

    def hand_over(self, segment: str, moves: list[tuple[str, bool]], repeat: int) -> None:
        """A new version of a segment, new or not; only users it treats differently are told."""
        self.n += 1
        old = self.active.get(segment)
        new = self.newest.get(segment, 0) + 1
        self.members.setdefault(segment, set())
        messages = []
        for user, enters in dict(moves).items():
            if (user in self.members[segment]) == enters or user not in self.known:
                continue
            self._move(user, segment, enters)
            messages.append(self._message(user, [self._one(user, segment, new, enters)]))
        self.active[segment] = self.newest[segment] = new
        marker = Activation(n=self.n, at=self.n, segments=(Activated(segment, new, old),))
        self.batch(messages, marker, repeat)

    def retire(self, segment: str, repeat: int) -> None:
        """A segment ends: everybody leaves it."""
        if segment not in self.active:
            return
        self.n += 1
        version = self.active.pop(segment)
        messages = [
            self._message(user, [replace(self._one(user, segment, version, False), ends=True)])
            for user in sorted(self.members.pop(segment, set()))
        ]
        self.batch(messages, Activation(n=self.n, at=self.n, retired=(segment,)), repeat)

    def _move(self, user: str, segment: str, enters: bool) -> None:
        (self.members[segment].add if enters else self.members[segment].discard)(user)

    def _one(self, user: str, segment: str, version: int, enters: bool) -> Change:
        return Change(
            id="0" * 16, segment=segment, version=version, entered=enters, reason="event",
            at=self.n, effective_at=self.n,
        )  # fmt: skip

    def _message(self, user: str, changes: list[Change]) -> UserChanges:
        return UserChanges(
            user=user, n=self.n, at=self.n, changes=tuple(changes), traits=f'{{"n":{self.n}}}'
        )
