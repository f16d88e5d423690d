"""Readers of segments whose rule changes under them: was each answer one version, whole?

Everybody has a trait ``group`` from 0 to 2. The segment ``wave`` is one group, and another one with
each change; ``shore`` refers to it and is everybody else. So an answer shows by itself which
version it is of, or that it is of none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

GROUPS = 3
SEGMENTS = ("wave", "shore")
GONE = -1
"""The group, and the version, of an answer that knows neither segment."""

CATALOG = """\
apiVersion: headrace/v1
kind: Catalog
events:
  page_view:
    properties:
      page: {type: string}
traits:
  group: {type: integer}
"""


def rules(group: int, page: int = 0) -> dict[str, str]:
    """The two segments while ``wave`` is ``group``, and one that load moves all the time.

    With another ``page``, that one needs a history nobody has folded yet.
    """
    where = f", where: {{property: page, ne: /{page}}}" if page else ""
    looks = f"event: page_view, count: true{where}, within: 3 seconds, resolution: 1s, gte: 2"
    return {
        "wave": f"{{trait: group, eq: {group}}}",
        "shore": "{not: {segment: wave}}",
        "busy": f"{{{looks}}}",
    }


@dataclass(frozen=True, slots=True)
class Sight:
    """What one answer showed: the group that ``wave`` is, its version, where it says them."""

    group: int | None = None
    version: int | None = None
    is_whole: bool = True


BLEND = Sight(is_whole=False)
LEFT = Sight(GONE, GONE)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The users watched, by group."""

    groups: Sequence[frozenset[str]]

    @staticmethod
    def of(users: Iterable[tuple[str, int]]) -> Crowd:
        members: list[set[str]] = [set() for _ in range(GROUPS)]
        for user, group in users:
            members[group].add(user)
        return Crowd([frozenset(of) for of in members])

    @property
    def users(self) -> frozenset[str]:
        return frozenset().union(*self.groups)

    def seen(self, wave: Collection[str], shore: Collection[str]) -> Sight:
        """Who of them is in which segment, by one answer."""
        if not wave and not shore:
            return Sight(GONE)
        for group, of in enumerate(self.groups):
            if set(wave) == of and set(shore) == self.users - of:
                return Sight(group)
        return BLEND

    def seen_page(self, version: int, wave: Collection[str]) -> Sight:
        """Everybody in ``wave``, by one answer."""
        for group, of in enumerate(self.groups):
            if self.users & set(wave) == of:
                return Sight(group, version)
        return BLEND


@dataclass(slots=True)
class Spell:
    """Answers in a row that showed the same: when the first arrived, when the last was asked for.

    Who asked before a change may be told the old, however late the answer reaches him.
    """

    sight: Sight
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be seen after a change."""

    group: int
    version: int

    def is_shown_by(self, sight: Sight) -> bool:
        return (
            sight.is_whole
            and sight.group in (None, self.group)
            and sight.version in (None, self.version)
        )


@dataclass
class Watcher:
    """Asks again and again in a thread of its own."""

    name: str
    ask: Callable[[], Sight]
    pause: float = 0.03
    spells: list[Spell] = field(default_factory=list)
    answers: int = 0
    failure: BaseException | None = None

    def watch(self, stopping: threading.Event) -> None:
        try:
            while not stopping.is_set():
                asked, sight = time.monotonic(), self.ask()
                self.answers += 1
                if self.spells and self.spells[-1].sight == sight:
                    self.spells[-1].last = asked
                else:
                    self.spells.append(Spell(sight, first=time.monotonic(), last=asked))
                time.sleep(self.pause)
        except BaseException as failure:
            self.failure = failure

    def shows(self, step: Step) -> bool:
        if self.failure is not None:
            raise self.failure
        return bool(self.spells) and step.is_shown_by(self.spells[-1].sight)


@dataclass
class Watch:
    """Several readers, and the steps they are to see one after the other."""

    watchers: Sequence[Watcher]
    steps: list[Step] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Watch:
        for watcher in self.watchers:
            thread = threading.Thread(target=watcher.watch, args=(self.stopping,), daemon=True)
            thread.start()
            self.threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(20)

    def expect(self, step: Step, patience: float) -> None:
        """Wait until every reader sees ``step``; what they saw on the way is judged at the end."""
        self.steps.append(step)
        deadline = time.monotonic() + patience
        while not all(
            watcher.spells and step.is_shown_by(watcher.spells[-1].sight)
            for watcher in self.watchers
        ):
            seen = {watcher.name: watcher.spells[-1:] for watcher in self.watchers}
            assert time.monotonic() < deadline, f"{step} is not seen: {seen}"
            time.sleep(0.005)

    def blends(self) -> list[str]:
        """Answers of no version whole, or that went back to an earlier one."""
        found = []
        for watcher in self.watchers:
            at = 0
            for spell in watcher.spells:
                if self.steps[at].is_shown_by(spell.sight):
                    continue
                if at + 1 < len(self.steps) and self.steps[at + 1].is_shown_by(spell.sight):
                    at += 1
                    continue
                found.append(f"{watcher.name} after step {at}: {spell.sight}")
        return found

    def seconds(self) -> list[float]:
        """Of each change: from the first new answer to the last asking that was answered old."""
        # One spell a step, for there were no blends.
        steps = list(zip(*(watcher.spells for watcher in self.watchers), strict=True))
        return [
            max(0.0, max(old.last for old in before) - min(new.first for new in after))
            for before, after in pairwise(steps)
        ]
