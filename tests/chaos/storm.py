"""The whole system under a seeded storm: traffic, rule changes, and anything dying at any time.

    python tests/chaos/storm.py --kills 100 --seed 7
    python tests/chaos/storm.py --reserve --kills 20 --seed 7

Every few kills the storm pauses, and what the API serves is held against the plain reference
evaluator over all that was sent. A reader asks the API all the time: who was in a segment that
nobody leaves must never be said not to be. Ends with 1 when anything differs.

With --reserve a second streaming job waits, warm, and only the first is killed, again and again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homes import trial_home
from page import keep
from psutil import Process

from headrace import embedded
from headrace.cli.invocation import Invocation
from headrace.cli.observation import accounts
from headrace.cli.served import Api
from headrace.cli.servers import prepare
from headrace.clock import system_clock
from headrace.embedded.children import Children
from headrace.embedded.services import start_services
from headrace.errors import OperatorError
from headrace.failpoints import VARIABLE, Failpoint
from headrace.jobs.batch_log import LoggedBatch, covers, logged_batches
from headrace.jobs.comparison import Accounts, compare, expected_members, families
from headrace.jobs.play import Journal
from headrace.jobs.shop import Message, Shop
from headrace.kafka.confluent import ConfluentConsumer, ConfluentProducer
from headrace.messages.topics import EVENTS, in_namespace
from headrace.rules.folder import load_rules
from headrace.runtime import JOB, publish
from headrace.settings import Settings
from headrace.store import Store

ROOT = Path(__file__).resolve().parents[2]
CATALOG = (ROOT / "rules" / "catalog.yaml").read_text()
FOREVER = "has_bought"
PATIENCE = 240.0
WARM_AFTER = 120.0  # seconds
IDS_REMEMBERED = 1_000
USER = re.compile(rb'"user_id":"([^"]*)"')
REACHED_WITHIN = 90.0

# Each list holds the texts that a segment goes back and forth between.
RULES: dict[str, Sequence[str]] = {
    FOREVER: ("{did: purchase}",),
    "spenders": (
        "{event: purchase, sum: amount, within: 30 days, gt: 100}",
        "{event: purchase, sum: amount, within: 30 days, gt: 250}",
        "{event: purchase, sum: amount, within: 7 days, gt: 60}",
    ),
    "browsing": (
        "{did: page_view, within: 20 seconds, resolution: 1s}",
        "{event: page_view, count: true, within: 40 seconds, resolution: 1s, gte: 2}",
    ),
    "curious": (
        "{event: page_view, distinct: page, within: 30 days, gte: 3}",
        "{event: page_view, distinct: page, within: 30 days, gte: 5}",
    ),
    "went_on": ("{sequence: [{event: page_view}, {event: purchase, within: 1 day}]}",),
    "quiet": (
        "{all: [{did: page_view}, {did_not: purchase, within: 15 days}]}",
        "{all: [{did: login}, {did_not: purchase, within: 10 days}]}",
    ),
    "germans": ("{all: [{trait: country, eq: DE}, {segment: spenders}]}",),
}  # fmt: skip
PROCESSES = (
    "stream", "stream", "stream", "kafka", "postgres", "redis", "load", "watch", "serve", "ingest",
)  # fmt: skip
STREAM_PLACES: tuple[Failpoint, ...] = (
    "before-events", "after-events", "after-identities", "before-profiles", "after-profiles",
    "mid-publish", "after-publish", "mid-compaction",
)  # fmt: skip
CHANGE_PLACES: tuple[Failpoint, ...] = (
    "mid-backfill", "before-activation-marker", "after-activation-marker",
    "loader-before-activation",
)  # fmt: skip


@dataclass(slots=True)
class Reader:
    """Asks for members that nobody can stop being, all the time."""

    base: str
    known: set[str]
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _read(self) -> None:
        dice = random.Random(1)
        while not self._stop.wait(0.05):
            users = dice.sample(sorted(self.known), min(20, len(self.known)))
            if users:
                self._ask(users)

    def _ask(self, users: Sequence[str]) -> None:
        body = json.dumps({"users": users, "segments": [FOREVER]}).encode()
        request = urllib.request.Request(
            f"{self.base}/v1/memberships:batch", body, {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            self.answers[str(error.code)] += 1
            if error.code != 503:
                self.wrong.append(f"{error.code}: {error.read()[:200]!r}")
            return
        except (OSError, ValueError):
            self.answers["no answer"] += 1  # the API itself was killed
            return
        self.answers["200"] += 1
        for user in found["users"]:
            if FOREVER not in user["segments"]:
                self.wrong.append(f"{user['user_id']} is said not to have bought, {user}")


@dataclass(slots=True)
class Storm:
    """One home in which everything may die, and the record of what was done to it."""

    home: Path
    seed: int
    users: int
    rate: int
    stack: ExitStack
    reserve: bool = False
    dice: random.Random = field(init=False)
    settings: Settings = field(init=False)
    journal: Journal = field(init=False)
    shop: Shop = field(init=False)
    reader: Reader | None = None
    actions: Counter[str] = field(default_factory=Counter)
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    memberships: int = 0
    chosen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))
    resent: int = 0
    outage: dict[str, float] = field(default_factory=dict)

    def open(self) -> None:
        """Start everything on an empty home and send the shop's history."""
        self.dice = random.Random(self.seed)
        self.failpoints.mkdir(parents=True)
        if self.reserve:
            os.environ["HEADRACE_STREAM__RESERVE"] = "true"
        else:  # one in reserve would reach every place itself, on tables of its own
            os.environ[VARIABLE] = str(self.failpoints)
        self.journal = self.stack.enter_context(Journal(self.home))
        self.shop = Shop(seed=self.seed, users=self.users, start=system_clock())
        self.serve_all()
        self.apply()
        self.send([*self.shop.history(self.users * 12), *keepers(self.shop.start)])
        self.serve_all()
        self.catch_up()
        known = {message.key.decode() for message in keepers(self.shop.start)}
        self.reader = Reader(self.base, known)
        self.reader.start()
        self.stack.callback(self.reader.stop)

    @property
    def failpoints(self) -> Path:
        """Where a file makes a process die."""
        return self.home / "failpoints"

    def serve_all(self) -> None:
        """What an operator's supervisor does: start again whatever does not run."""
        before = Invocation("local", self.home, color=False).settings
        embedded.up(self.home, before)
        self.settings = Invocation("local", self.home, color=False).settings
        prepare(self.settings)
        store = self._store()
        try:
            has_plan = store.target_hash(JOB) is not None
        finally:
            store.close()
        if has_plan:
            start_services(self.settings, root=ROOT, target="local")
            self.settings = Invocation("local", self.home, color=False).settings

    def apply(self) -> None:
        """Publish the chosen text of every rule."""
        rules = self.home / "rules"
        (rules / "segments").mkdir(parents=True, exist_ok=True)
        (rules / "catalog.yaml").write_text(CATALOG)
        for name, choice in self.chosen.items():
            text = (
                "apiVersion: headrace/v1\nkind: Segment\n"
                f"metadata: {{id: {name}, name: {name}, owner: storm}}\n"
                f"spec:\n  match: {RULES[name][choice]}\n"
            )
            (rules / "segments" / f"{name}.yaml").write_text(text)
        store = self._store()
        try:
            publish(store, self.settings, load_rules(rules).require(), author="storm")
        finally:
            store.close()

    def _store(self) -> Store:
        return Store(self.settings.postgres_url.get_secret_value(), self.settings.namespace)

    def send(self, messages: Sequence[Message]) -> None:
        """Note what is sent, and what it is meant to become; wait until the broker has it."""
        for message in messages:
            self.journal.note(message)
        self.journal.flush()
        topic = in_namespace(self.settings.namespace, EVENTS)
        with ConfluentProducer(self.settings.kafka_bootstrap) as producer:
            for message in messages:
                producer.send(topic, value=message.value, key=message.key)
            producer.flush()

    # What happens

    def act(self) -> None:
        """One random thing that is no death."""
        action: Callable[[], None] = self.dice.choices(
            (self._traffic, self._again, self._change_rule, self._pause), (8, 2, 1, 2)
        )[0]
        self.actions[action.__name__.strip("_")] += 1
        action()

    def _traffic(self) -> None:
        self.send(self.shop.live(self.dice.randint(1, 4 * self.rate), system_clock()))

    def _again(self) -> None:
        """Events of long ago, sent again as they were.

        Of a user the newest 1,024 ids are remembered: those who have done more in the hours of a
        storm than others in years are left alone.
        """
        lines = [
            line
            for line in self.journal.lines.read_bytes().splitlines()
            if b'"event_id"' in line and USER.search(line) is not None
        ]
        joined = families(self.journal.lines)
        owners = [joined.get(user, user) for user in map(_user, lines)]
        busy = {owner for owner, count in Counter(owners).items() if count > IDS_REMEMBERED}
        calm = [line for line, owner in zip(lines, owners, strict=True) if owner not in busy]
        some = self.dice.sample(calm, min(40, len(calm)))
        self.resent += len(some)
        self.send([Message(b"again", line, "duplicate") for line in some])

    def _change_rule(self) -> None:
        name = self.dice.choice([name for name, texts in RULES.items() if len(texts) > 1])
        self.chosen[name] = self.dice.randrange(len(RULES[name]))
        self.apply()

    def _pause(self) -> None:
        time.sleep(self.dice.uniform(0, 2))

    def kill(self) -> None:
        """SIGKILL to a process now, or to whichever reaches a place in its code first."""
        if self.reserve:
            self._fail_over()
            return
        fate = self.dice.random()
        if fate < 0.05:
            self._hang_postgres()
            return
        if fate < 0.5:
            victim = self.dice.choice(PROCESSES)
            was_killed = self._kill(victim)
        else:
            victim, was_killed = self._die_at_a_place()
        if not was_killed:
            self.actions[f"not reached: {victim}"] += 1
            return
        self.actions[f"killed {victim}"] += 1
        # Batches went on until a place was reached: what counts is the first after the death.
        self._recover(self._newest(), victim, time.monotonic())

    def _kill(self, name: str) -> bool:
        children = Children(self.home)
        streams = self._streams()[: 1 if self.reserve else None]
        names = streams if name == "stream" else [name]
        records = [record for one in names if (record := children.alive(one)) is not None]
        for record in records:
            os.killpg(os.getpgid(record.pid), signal.SIGKILL)
        return bool(records)

    def _fail_over(self) -> None:
        """SIGKILL to the streaming job when another has been in reserve for a while."""
        deadline = time.monotonic() + 2 * PATIENCE
        warm_for, warm = self.dice.uniform(WARM_AFTER, 1.5 * WARM_AFTER), None
        while warm is None or time.monotonic() - warm < warm_for:
            if time.monotonic() > deadline:
                raise OperatorError("none is in reserve")
            self._traffic()
            time.sleep(1)
            waits = len(self._streams()) == 2
            warm = (warm or time.monotonic()) if waits else None
        self._kill("stream")
        self.actions["killed stream"] += 1
        self._recover(self._newest(), "stream", time.monotonic())

    def _streams(self) -> list[str]:
        """The streaming jobs that run, oldest first: the one that writes, and one in reserve."""
        children = Children(self.home)
        names = (name for name in children.names() if name.startswith("stream-"))
        alive = [name for name in names if children.alive(name) is not None]
        return sorted(alive, key=lambda name: int(name.removeprefix("stream-")))

    def _hang_postgres(self) -> None:
        """Postgres is there and answers nothing: batches go on without it."""
        postgres = Children(self.home).alive("postgres")
        assert postgres is not None
        everything = [postgres.pid, *(one.pid for one in Process(postgres.pid).children())]
        for pid in everything:
            os.kill(pid, signal.SIGSTOP)
        began, before = time.monotonic(), self._newest()
        while self._newest() < before + 2 and time.monotonic() - began < REACHED_WITHIN:
            self._traffic()
            time.sleep(1)
        for pid in everything:
            os.kill(pid, signal.SIGCONT)
        self.actions["hung postgres"] += 1
        self.recoveries.append(("hung postgres", time.monotonic() - began))
        if self._newest() < before + 2:
            self.differences.append("no two batches while Postgres hung")

    def _die_at_a_place(self) -> tuple[str, bool]:
        """Let the job or the loader die at a random place; give it what brings it there."""
        changes = self.dice.random() < 0.3
        place = self.dice.choice(CHANGE_PLACES if changes else STREAM_PLACES)
        (self.failpoints / place).touch()
        deadline = time.monotonic() + REACHED_WITHIN
        while (self.failpoints / place).exists() and time.monotonic() < deadline:
            if changes:
                self._change_rule()
            self._traffic()
            time.sleep(1)
        was_reached = not (self.failpoints / place).exists()
        (self.failpoints / place).unlink(missing_ok=True)
        return place, was_reached

    def live_without_postgres(self, seconds: float) -> None:
        """Postgres is away for long: every read is answered, batches go on, rules wait."""
        assert self.reader is not None
        self.chosen["spenders"] = 0
        self.apply()
        self._traffic()  # a stream that has just been started shall be past its start
        self.catch_up()
        batches, answers = self._newest(), self.reader.answers.copy()
        self.chosen["spenders"] = 1  # another threshold, so no history to build
        self._kill("postgres")
        gone = time.monotonic()
        refused = 0
        while time.monotonic() - gone < seconds:
            self._traffic()
            time.sleep(1)
            refused += self._is_refused()
        self.serve_all()
        back = time.monotonic()
        self.apply()
        while not self._runs_the_newest_plan():
            if time.monotonic() - back > PATIENCE:
                raise OperatorError("no new plan runs after Postgres is back")
            time.sleep(0.2)
        told = self.reader.answers - answers
        self.outage = {
            "seconds": round(back - gone),
            "reads answered": told.pop("200", 0),
            "reads failed": sum(told.values()),
            "changes refused": refused,
            "batches": self._newest() - batches,
            "a changed rule runs after, s": round(time.monotonic() - back, 1),
        }
        if self.outage["reads failed"] or not refused or not self.outage["batches"]:
            self.differences.append(f"without Postgres: {self.outage}")
        print(f"without Postgres: {self.outage}", flush=True)

    def _is_refused(self) -> bool:
        """Whether what is chosen cannot be published."""
        try:
            self.apply()
        except OperatorError:
            return True
        self.differences.append("a rule was published without Postgres")
        return False

    def _runs_the_newest_plan(self) -> bool:
        store = self._store()
        try:
            running, target = store.running_plan(JOB), store.target_hash(JOB)
        finally:
            store.close()
        return running is not None and running.plan_hash == target

    def _recover(self, before: int, victim: str, began: float) -> None:
        """Start again what is dead; note how long until batches and answers go on."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.serve_all()
                self.send(self.shop.live(5, system_clock()))
                if self._newest() > before and self._answers():
                    self.recoveries.append((victim, time.monotonic() - began))
                    return
            except (OperatorError, OSError):
                pass  # what it needs is still on its way up
            time.sleep(0.5)
        raise OperatorError(f"nothing goes on {PATIENCE:.0f} s after {victim} was killed")

    def _answers(self) -> bool:
        return Api(self.base).segments()[1] is not None

    # What is true in the end

    @property
    def base(self) -> str:
        """Where the API is."""
        return f"http://{self.settings.api_host}:{self.settings.api_port}"

    def _batches(self) -> list[LoggedBatch]:
        logs = sorted(self.home.glob("logs/stream-*.log"), key=lambda log: log.stat().st_mtime)
        return logged_batches(logs)

    def _newest(self) -> int:
        batches = self._batches()
        return batches[-1].n if batches else -1

    def catch_up(self) -> None:
        """Wait until everything sent has been read, under the rules applied last."""
        topic = in_namespace(self.settings.namespace, EVENTS)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with ConfluentConsumer(self.settings.kafka_bootstrap, topic, "storm") as consumer:
                ends = {part: bound.end for part, bound in consumer.bounds().items()}
            batches = self._batches()
            is_done = self._runs_the_newest_plan() and bool(batches) and batches[-1].linked
            if is_done and covers(batches[-1].ends.get(topic, {}), ends):
                return
            time.sleep(1)
        raise OperatorError("the stream does not catch up")

    def prove(self) -> None:
        """Stop the stream between two batches; hold what is served against the reference."""
        self._stop_between_batches()
        batches = self._batches()
        now = batches[-1].now
        deadline = time.monotonic() + PATIENCE
        while Api(self.base).segments()[1] != now:
            if time.monotonic() > deadline:
                raise OperatorError("the loader has not reached the last batch")
            time.sleep(0.2)
        store = self._store()
        try:
            catalog = store.catalog()
            segments = [version.segment for version in store.active_versions()]
        finally:
            store.close()
        assert catalog is not None
        lines = self.journal.lines
        expected = expected_members(lines, segments, catalog, now, processes=os.cpu_count() or 1)
        users = sorted({*self.shop.users, *families(lines), *(user for _, user in expected)})
        found = compare(expected, Api(self.base).memberships(users))
        self.memberships += found.memberships
        self.differences += map(str, found.differences)
        counts = self.journal.counts
        meant = Accounts(
            accepted=counts["event"], duplicates=counts["duplicate"], quarantined=counts["garbage"]
        )
        if accounts(batches) != meant:
            self.differences.append(f"counted {accounts(batches)}, sent were {meant}")
        print(f"  {found}, sent {self.journal.total} = {accounts(batches)}", flush=True)
        self.serve_all()

    def _stop_between_batches(self) -> None:
        """Stop when everything is read; anew when a stop had to cut a batch short.

        Some of that batch is served then, and no instant is known that this would be true for.
        """
        while True:
            self.catch_up()
            Children(self.home).stop("watch", patience=60)
            store = self._store()
            try:
                (launch,) = store.progress(JOB, limit=1)
            finally:
                store.close()
            if launch.exit_code == 0:
                return
            self.actions["stops amid a batch"] += 1
            self.serve_all()

    def report(self, seconds: float) -> dict[str, Any]:
        """Everything that was done and found."""
        assert self.reader is not None
        times = sorted(seconds for _, seconds in self.recoveries)
        by_victim: dict[str, list[float]] = {}
        for victim, took in self.recoveries:
            by_victim.setdefault(victim, []).append(round(took, 1))
        return {
            "seed": self.seed,
            "minutes": round(seconds / 60, 1),
            "kills": len(times),
            "actions": dict(sorted(self.actions.items())),
            "messages": self.journal.total,
            "memberships compared": self.memberships,
            "differences": len(self.differences) + len(self.reader.wrong),
            "answers to the reader": dict(self.reader.answers),
            **({"without Postgres": self.outage} if self.outage else {}),
            "recovery p50 s": round(times[len(times) // 2], 1) if times else None,
            "recovery p95 s": round(times[int(len(times) * 0.95)], 1) if times else None,
            "recovery by victim s": {name: max(took) for name, took in sorted(by_victim.items())},
        }


def _user(line: bytes) -> str:
    found = USER.search(line)
    return found[1].decode(errors="replace") if found is not None else ""


def keepers(start: int) -> list[Message]:
    """Users who bought once, long ago, and are never forgotten."""
    found = []
    for number in range(50):
        user = f"keeper-{number}"
        line = {
            "event_id": f"{user}-1",
            "user_id": user,
            "type": "purchase",
            "ts": start - 86_400_000,
            "properties": {"amount": 1},
        }
        found.append(Message(user.encode(), json.dumps(line).encode(), "event"))
    return found


def main() -> int:
    """Run the storm; 1 when anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=0, help="kill nobody any more after them")
    parser.add_argument("--actions-between", type=int, default=8, help="beside each kill")
    parser.add_argument("--proofs-every", type=int, default=5, help="kills")
    parser.add_argument("--reserve", action="store_true", help="kill the first of two jobs")
    parser.add_argument("--postgres-away", type=float, default=0, help="seconds, after the kills")
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--rate", type=int, default=60, help="events of an action, about")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    asked = parser.parse_args()
    print(
        f"replay: python tests/chaos/storm.py --kills {asked.kills} --seed {asked.seed}"
        f" --postgres-away {asked.postgres_away:g}{' --reserve' if asked.reserve else ''}"
    )
    began = time.monotonic()
    with trial_home("storm") as (home, stack):
        storm = Storm(home, asked.seed, asked.users, asked.rate, stack, asked.reserve)
        storm.open()
        for number in range(1, asked.kills + 1):
            if 0 < asked.minutes * 60 < time.monotonic() - began:
                break
            while len(storm.recoveries) < number:
                for _ in range(storm.dice.randint(1, 2 * asked.actions_between)):
                    storm.act()
                storm.kill()
            victim, took = storm.recoveries[-1]
            print(f"{number}: {victim}, back after {took:.1f} s", flush=True)
            if number % asked.proofs_every == 0 and number < asked.kills:
                storm.prove()
        if asked.postgres_away:
            storm.live_without_postgres(asked.postgres_away)
        storm.prove()
        assert storm.reader is not None
        report = storm.report(time.monotonic() - began)
        for line in (*storm.differences[:50], *storm.reader.wrong[:50]):
            print(line)
        print(json.dumps(report, indent=2))
    keep("failovers" if asked.reserve else "storm", report)
    return 1 if report["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
