"""A whole life of a deployment without servers, by dice: what is done to it, and what must be.

Facts come in any order, doubled, late and ahead; users are joined and forgotten; batches die
before they commit and are repeated; clocks are set back; rules come, go and come back, with history
that is built meanwhile or given up; states are told anew. Whenever it is asked, the members are
those of the reference evaluator over all that was read, and the messages add up to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from random import Random
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from headrace.clock import DAY, HOUR, MINUTE
from headrace.engine.door import admit
from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters, Plan
from headrace.plan.registry import MemoryRegistry
from headrace.rules.model import Segment
from headrace.rules.reference import reference_members
from strategies import AT, CATALOG
from streams import dense, raw
from towns import Town, linked

Versions: TypeAlias = Mapping[str, tuple[Segment, int]]

LIFE = 100
"""Actions of one deployment; then there is another, with other rules and users."""


class World:
    """One deployment, the outside world it lives in, and what is expected of it."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        # Several sets of rules to go back and forth between, each with a history around its edges.
        cases = [linked(random) for _ in range(2)] + [dense(random)]
        self.rules: list[tuple[Segment, ...]] = [case.segments for case in cases]
        self.untold = [
            _of_case(line, number) for number, case in enumerate(cases) for line in case.lines
        ]
        random.shuffle(self.untold)
        self.registry, self.newest = MemoryRegistry(), 0
        self.running: Versions = {}
        self.running = self.coming = self._versions(self.rules[0])
        self.town = Town(self._plan(self.running))
        self.clock = AT - 37 * DAY
        self.told: list[bytes] = []
        self.read = 0
        self.done: Counter[str] = Counter()

    def act(self) -> None:
        """One random thing."""
        actions: dict[Callable[[], None], int] = {
            self.tell: 8, self.repeat: 2, self.live: 6, self.die: 2, self.wait: 5,
            self.set_clock_back: 1, self.compact: 2, self.change_rules: 1, self.take_over: 1,
            self.give_up: 1, self.correct: 1, self.check: 1,
        }  # fmt: skip
        (action,) = self.random.choices([*actions], [*actions.values()])
        self.done[action.__name__] += 1
        action()

    # What happens

    def tell(self) -> None:
        """Some facts are sent."""
        latest = self.clock + HOUR if self.random.random() < 0.95 else AT
        for fact in [fact for fact in self.untold if fact[0] <= latest][
            : self.random.randint(1, 9)
        ]:
            self.untold.remove(fact)
            self.told.append(fact[1])

    def repeat(self) -> None:
        """Some are sent once more, as they were."""
        self.told += self.random.sample(self.told, min(len(self.told), 3))

    def wait(self) -> None:
        """Time passes: moments, or days."""
        longest = self.random.choice((MINUTE, HOUR, DAY, 3 * DAY))
        self.clock = min(AT, self.clock + self.random.randrange(longest))

    def set_clock_back(self) -> None:
        """The machine's clock goes back; the stream's never does."""
        self.clock -= self.random.randrange(HOUR)

    def live(self) -> None:
        """A batch of some of what was sent."""
        self._batch(self.random.randint(0, len(self.told) - self.read))

    def die(self) -> None:
        """A batch dies before its commit; repeated, it comes to the same."""
        count = self.random.randint(0, len(self.told) - self.read)
        town = self.town
        kept = {name: _copied(value) for name, value in vars(town).items()}
        first = self._lived(count)
        vars(town).update(kept)
        second = self._lived(count)
        self.read += count
        assert first.equals(second), "a batch that was repeated came to something else"

    def compact(self) -> None:
        """Upkeep."""
        self.town.compact(self.town.now)

    def change_rules(self) -> None:
        """Other rules are published; some of the segments may stay as they are."""
        chosen = self.random.choice(self.rules)
        if self.random.random() < 0.3:
            chosen = chosen[: self.random.randint(0, len(chosen))]
        if self.town.n:
            self.coming = self._versions(chosen)
            self.town.prepare(self._plan(self.coming))

    def take_over(self) -> None:
        """The history of rules to come is built: they take over in one batch."""
        if self.town.coming is not None:
            count = self.random.choice((0, len(self.told) - self.read))
            self._batch(count, handover=True)
            self.running = self.coming

    def give_up(self) -> None:
        """The rules to come are taken back."""
        self.town.give_up()

    def correct(self) -> None:
        """A state that is right is told anew from its facts: nobody hears of it."""
        known = sorted(self.town.known())
        if self.town.coming is None and known:
            self._batch(0)
            members, told = self.town.members(), len(self.town.messages)
            self._batch(0, corrected=[self.random.choice(known)])
            assert self.town.members() == members
            assert not any(one["changes"] for one in self.town.messages[told:])

    # What must be

    def check(self) -> None:
        """Everything sent is read, everybody due has his turn, then all is compared."""
        if self.town.coming is not None:
            self.random.choice((self.give_up, self.take_over))()
        self._batch(len(self.told) - self.read)
        while self._batch(0).num_rows:
            pass
        segments = [segment for segment, _ in self.running.values()]
        expected = reference_members(self.told, segments, CATALOG, self.town.now)
        assert self.town.members() == expected
        assert sorted(self.town.replayed) == expected, "messages add up to the members"

    # How

    def _batch(
        self, count: int, *, handover: bool = False, corrected: Sequence[str] = ()
    ) -> pa.Table:
        out = self._lived(count, handover=handover, corrected=corrected)
        self.read += count
        return out

    def _lived(
        self, count: int, *, handover: bool = False, corrected: Sequence[str] = ()
    ) -> pa.Table:
        now = max(self.clock, self.town.now, 0)
        lines = raw(self.told[self.read : self.read + count])
        offsets = pa.array(range(self.read, self.read + count), pa.int64())
        lines = lines.set_column(lines.schema.get_field_index("offset"), "offset", offsets)
        events = admit(lines, catalog=CATALOG, now=None, retention_ms=None)
        return self.town.live(events, now, handover=handover, corrected=corrected)

    def _versions(self, segments: Sequence[Segment]) -> Versions:
        """A segment whose text stays keeps its version; any other text is a new one."""
        found = {}
        for segment in segments:
            known = self.running.get(segment.id)
            if known is None or known[0] != segment:
                self.newest += 1
                known = segment, self.newest
            found[segment.id] = known
        return found

    def _plan(self, versions: Versions) -> Plan:
        known = [SegmentVersion(segment, version) for segment, version in versions.values()]
        job = JobParameters(horizon_ms=200 * 366 * DAY)  # the reference never forgets an id
        return build_plan(known, CATALOG, self.registry, job)


def _of_case(line: bytes, number: int) -> tuple[int, bytes]:
    """Instant and text of a fact, its event id unlike those of other cases."""
    fact = orjson.loads(line)
    if "event_id" in fact:
        fact["event_id"] += f"-{number}"
    return fact["ts"], orjson.dumps(fact)


def _copied(value: Any) -> Any:
    return copy(value) if isinstance(value, (list, dict, set)) else value


def lives(actions: int, seed: int) -> Counter[str]:
    """Do so many actions, life after life; what was done. A failure names the life's seed."""
    done: Counter[str] = Counter()
    for number in range(-(-actions // LIFE)):
        world = World(seed + number)
        try:
            for _ in range(min(LIFE, actions - number * LIFE)):
                world.act()
            world.check()
        except Exception as error:
            error.add_note(f"World({seed + number}), after {sum(world.done.values())} actions")
            raise
        done += world.done
    return done
