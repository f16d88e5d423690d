"""A rule that changes again and again under load, and readers who must see old or new.

    python tests/chaos/rule_changes.py --changes 50 --seed 7

Everything runs as an operator runs it, with a second API beside the first. Changes are applied,
drafted and activated, rolled back, and ended and brought back; some need history first. Ends with
1 when an answer was of no version whole, or a change took a second from the first reader who saw
the new to the last who saw the old.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from homes import trial_home
from page import keep

from headrace import embedded
from headrace.cli.invocation import Invocation
from headrace.cli.servers import prepare
from headrace.clock import system_clock
from headrace.embedded.children import Children
from headrace.embedded.ports import choose_port
from headrace.embedded.services import start_services
from headrace.kafka.confluent import ConfluentProducer
from headrace.messages.topics import EVENTS, in_namespace
from headrace.rules.folder import load_rules
from headrace.runtime import JOB, Publication, activate, keep_drafts, publish, retire, roll_back
from headrace.settings import Settings
from headrace.store import Store
from rule_folders import write_rules
from swaps import BLEND, CATALOG, GONE, GROUPS, LEFT, SEGMENTS, Crowd, Sight, Step, Watch, Watcher
from swaps import rules as rules_of

ROOT = Path(__file__).resolve().parents[2]
WATCHED = 300
# A cold start of Spark, or a change that waits for its history.
PATIENCE = 240.0
AUTHOR = "rule_changes"


@dataclass
class Api:
    """One API process as one reader asks it, over a connection of its own."""

    port: int
    users: int
    crowd: Crowd
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def memberships(self) -> Sight:
        """Both segments of those watched, in one answer."""
        asked = {"users": sorted(self.crowd.users), "segments": SEGMENTS}
        _, answer = self._ask("POST", "/v1/memberships:batch", json.dumps(asked))
        held = {one["user_id"]: one["segments"] for one in answer["users"]}
        return self.crowd.seen(
            *([user for user in held if name in held[user]] for name in SEGMENTS)
        )

    def page(self) -> Sight:
        """The first members of one segment; those watched have the smallest ids."""
        status, page = self._ask("GET", "/v1/segments/wave/members?limit=1000")
        return LEFT if status == 404 else self.crowd.seen_page(page["version"], page["users"])

    def sizes(self) -> Sight:
        """How many are in each segment: together always everybody."""
        _, answer = self._ask("GET", "/v1/segments")
        seen = {one["id"]: one for one in answer["segments"] if one["size"] is not None}
        if not seen.keys() & set(SEGMENTS):
            return LEFT
        wave, shore = (seen[name] for name in SEGMENTS)
        is_whole = wave["size"] + shore["size"] == self.users
        return Sight(version=wave["active_version"]) if is_whole else BLEND

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        self._connection.request(method, path, body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status not in (200, 404):
            raise RuntimeError(f"{path} answers {response.status}: {answer}")
        return response.status, answer


@dataclass
class Trial:
    """One home with everything on it, the readers, and what was done."""

    home: Path
    seed: int
    users: int
    rate: int
    stack: ExitStack
    dice: random.Random = field(init=False)
    settings: Settings = field(init=False)
    store: Store = field(init=False)
    watch: Watch = field(init=False)
    group: int = 0
    groups: dict[int, int] = field(default_factory=dict)
    page: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    sent: int = 0
    is_loader_late: bool = False

    def open(self) -> None:
        """Start everything, tell everybody's group, and begin to read."""
        self.dice = random.Random(self.seed)
        embedded.up(self.home, Invocation("local", self.home, color=False).settings)
        self.settings = Invocation("local", self.home, color=False).settings
        prepare(self.settings)
        self.store = Store(self.settings.postgres_url.get_secret_value(), self.settings.namespace)
        self.stack.callback(self.store.close)
        everybody = [(f"user-{number:06d}", number % GROUPS) for number in range(self.users)]
        self._send([tells(user, group) for user, group in everybody])
        first = self._published()
        start_services(self.settings, root=ROOT, target="local")
        self.settings = Invocation("local", self.home, color=False).settings
        ports = (self.settings.api_port, self._second_api())
        crowd = Crowd.of(everybody[:WATCHED])
        watchers = []
        for number, port in enumerate(ports):
            for kind in ("memberships", "page", "sizes"):
                api = Api(port, self.users, crowd)
                watchers.append(Watcher(f"{kind} by api {number}", getattr(api, kind)))
        wait_for(watchers[2].ask, Sight(version=1))
        wait_for(watchers[5].ask, Sight(version=1))
        self.watch = self.stack.enter_context(Watch(watchers))
        self._expect(first, 0)
        stopping = threading.Event()
        load = threading.Thread(target=self._load, args=(everybody, stopping), daemon=True)
        load.start()
        self.stack.callback(load.join, 20)
        self.stack.callback(stopping.set)

    def change(self) -> None:
        """One random change, until every reader has seen it."""
        kinds: tuple[Callable[[], None], ...] = (
            self._apply, self._draft, self._undo, self._go_back, self._with_history, self._end
        )  # fmt: skip
        kind = self.dice.choices(kinds, (8, 4, 4, 4, 2, 1))[0]
        if len(self.groups) == 1:
            kind = self._apply  # going back to the version in force would change nothing
        self.kinds[kind.__name__.strip("_")] += 1
        self.is_loader_late = self.dice.random() < 0.5
        kind()

    def _apply(self) -> None:
        self._expect(self._published(self._other_group()), self.group)

    def _draft(self) -> None:
        found = load_rules(self._folder(self._other_group()))
        keep_drafts(self.store, self.settings, found, author=AUTHOR)
        done = activate(self.store, self.settings, {"wave": None}, author=AUTHOR)
        self._expect(done, self.group)

    def _undo(self) -> None:
        done = roll_back(self.store, self.settings, "wave", author=AUTHOR)
        self._expect(done)

    def _go_back(self) -> None:
        others = [version for version, group in self.groups.items() if group != self.group]
        to = self.dice.choice(others)
        done = roll_back(self.store, self.settings, "wave", to=to, author=AUTHOR)
        self._expect(done, self.groups[to])

    def _with_history(self) -> None:
        """Beside the change one that looks at events in a way nobody did before."""
        self.page += 1
        self._apply()

    def _end(self) -> None:
        """Both segments end, and come back at once."""
        retire(self.store, self.settings, SEGMENTS, author=AUTHOR)
        self._see(Step(GONE, GONE))
        last = {name: self.store.history(name).before().version for name in SEGMENTS}
        done = activate(self.store, self.settings, last, author=AUTHOR)
        self._expect(done, self.groups[last["wave"]])

    def _other_group(self) -> int:
        self.group = self.dice.choice([group for group in range(GROUPS) if group != self.group])
        return self.group

    def _published(self, group: int = 0) -> Publication:
        found = load_rules(self._folder(group)).require()
        return publish(self.store, self.settings, found, author=AUTHOR)

    def _folder(self, group: int) -> Path:
        return write_rules(self.home / "rules", rules_of(group, page=self.page), CATALOG)

    def _expect(self, done: Publication, group: int | None = None) -> None:
        version = done.plan.versions["wave"]
        if group is None:
            text = self.store.history("wave").in_force().text
            group = next(one for one in range(GROUPS) if f"eq: {one}}}" in text)
        self.group = self.groups[version] = group
        self._see(Step(group, version))

    def _see(self, step: Step) -> None:
        began = time.monotonic()
        if self.is_loader_late:
            self._delay_loader()
        self.watch.expect(step, PATIENCE)
        self.waits.append(time.monotonic() - began)

    def _delay_loader(self) -> None:
        """The loader meets all that a change means at once, not as the stream sends it."""
        self.kinds["of which met by a late loader"] += 1
        record = Children(self.home).alive("load")
        assert record is not None
        os.kill(record.pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + PATIENCE
            while not self._has_taken_over():
                assert time.monotonic() < deadline, "the stream takes nothing over"
                time.sleep(0.1)
        finally:
            os.kill(record.pid, signal.SIGCONT)

    def _has_taken_over(self) -> bool:
        running = self.store.running_plan(JOB)
        return running is not None and running.plan_hash == self.store.target_hash(JOB)

    def _second_api(self) -> int:
        port = choose_port(self.settings.api_port + 1)
        environment = {
            **os.environ,
            "HEADRACE_HOME": str(self.home),
            "HEADRACE_API_PORT": str(port),
        }
        process = subprocess.Popen(
            [sys.executable, "jobs/serve_api.py"], cwd=ROOT, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.stack.callback(process.wait, 20)
        self.stack.callback(process.terminate)
        return port

    def _load(self, everybody: list[tuple[str, int]], stopping: threading.Event) -> None:
        """Everybody looks at pages; some of those not watched change their group."""
        dice, turn = random.Random(self.seed), 0
        while not stopping.wait(0.25):
            turn += 1
            lookers = dice.choices(everybody, k=self.rate // 4)
            movers = dice.choices(everybody[WATCHED:], k=self.rate // 40)
            self._send(
                [
                    *(looks(user, f"{turn}-{place}") for place, (user, _) in enumerate(lookers)),
                    *(tells(user, dice.randrange(GROUPS)) for user, _ in movers),
                ]
            )

    def _send(self, facts: list[dict[str, Any]]) -> None:
        topic = in_namespace(self.settings.namespace, EVENTS)
        with ConfluentProducer(self.settings.kafka_bootstrap) as producer:
            for fact in facts:
                producer.send(topic, key=fact["user_id"].encode(), value=json.dumps(fact).encode())
            producer.flush()
        self.sent += len(facts)

    def report(self, seconds: float) -> dict[str, Any]:
        """Everything that was done and found."""
        blends = self.watch.blends()
        swaps = [] if blends else sorted(self.watch.seconds())
        waits = sorted(self.waits[1:])
        return {
            "seed": self.seed,
            "minutes": round(seconds / 60, 1),
            "users": self.users,
            "messages": self.sent,
            "changes": dict(sorted(self.kinds.items())),
            "swaps": len(self.watch.steps) - 1,
            "answers": {one.name: one.answers for one in self.watch.watchers},
            "blends": len(blends),
            "swap s, p50": round(swaps[len(swaps) // 2], 4) if swaps else None,
            "swap s, worst": round(swaps[-1], 4) if swaps else None,
            "publish to seen by all s, p50": round(waits[len(waits) // 2], 1) if waits else None,
            "publish to seen by all s, worst": round(waits[-1], 1) if waits else None,
        }


def tells(user: str, group: int) -> dict[str, Any]:
    return {"user_id": user, "type": "traits", "ts": system_clock(), "traits": {"group": group}}


def looks(user: str, event_id: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "user_id": user,
        "type": "page_view",
        "ts": system_clock(),
        "properties": {"page": "/"},
    }


def wait_for(ask: Callable[[], Sight], wanted: Sight) -> None:
    """Until the API says so; before, it may not listen, or have nothing to say."""
    deadline, last = time.monotonic() + PATIENCE, ""
    while time.monotonic() < deadline:
        try:
            seen = ask()
            if seen == wanted:
                return
            last = str(seen)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            last = str(error)
        time.sleep(0.2)
    raise TimeoutError(f"not within {PATIENCE:.0f} s: {last}")


def main() -> int:
    """Run the trial; 1 when a reader saw a blend, or a change for too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=1_000, help="events a second meanwhile")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    asked = parser.parse_args()
    print(f"replay: {sys.argv[0]} --changes {asked.changes} --seed {asked.seed}", flush=True)
    began = time.monotonic()
    with trial_home("rule_changes") as (home, stack):
        trial = Trial(home, asked.seed, asked.users, asked.rate, stack)
        trial.open()
        for number in range(1, asked.changes + 1):
            trial.change()
            print(f"{number}: {trial.watch.steps[-1]} after {trial.waits[-1]:.1f} s", flush=True)
        for line in trial.watch.blends()[:50]:
            print(line)
        report = trial.report(time.monotonic() - began)
        print(json.dumps(report, indent=2))
    keep("rule_changes", report)
    return 1 if report["blends"] or report["swap s, worst"] >= 1 else 0


if __name__ == "__main__":
    sys.exit(main())
