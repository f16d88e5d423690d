"""``headrace demo``: the whole system on one machine, a seeded shop, and a proof at the end."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from headrace import embedded
from headrace.cli.invocation import Invocation, invoked
from headrace.cli.live import Screen, plain_line
from headrace.cli.observation import Observer, accounts, moves_of
from headrace.cli.served import Api
from headrace.cli.servers import prepare
from headrace.clock import Instant, format_instant, system_clock
from headrace.embedded.children import Children
from headrace.embedded.services import start_services, stop_services
from headrace.errors import OperatorError
from headrace.jobs.batch_log import LoggedBatch, covers
from headrace.jobs.comparison import Accounts, compare, expected_members, families
from headrace.jobs.play import Journal, Performance
from headrace.jobs.shop import Shop
from headrace.kafka.confluent import ConfluentProducer
from headrace.messages.topics import EVENTS, in_namespace
from headrace.plan.model import Plan
from headrace.plan.usage import held_segments
from headrace.rules.folder import load_rules
from headrace.runtime import JOB, publish
from headrace.settings import Settings
from headrace.settings.places import project_root
from headrace.store import Store

LOOK_EVERY_SECONDS = 1.0
# From the last event to everything visible; a machine that needs longer is stuck.
PATIENCE_SECONDS = 600.0
# The stream ends its batch before it goes; after a flood one may take this long.
STOP_SECONDS = 60.0
CLOSING_ATTEMPTS = 3
SHOWN_DIFFERENCES = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    context: typer.Context,
    seconds: Annotated[
        float | None,
        typer.Option("--for", help="Seconds of live traffic; without it until Ctrl-C.", min=0),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another shop.")] = 1,
    users: Annotated[int, typer.Option(help="Customers.", min=1)] = 20_000,
    events: Annotated[int, typer.Option(help="Events of the last 40 days.", min=0)] = 300_000,
    rate: Annotated[int, typer.Option(help="Live events a second.", min=0)] = 500,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the last demo's data.")] = False,
    kill_stream_after: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="kill -9 the streaming job so long into the traffic."),
    ] = None,
) -> None:
    """Play a seeded shop on embedded servers, and prove at the end that what is served is right.

    The proof compares the API with the reference evaluator over the accepted events, user by user
    and segment by segment. Exit code 1 if they differ.
    """
    invocation = demo_home(invoked(context))
    # SIGINT too: a shell that starts us in the background has told us to ignore it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    home = invocation.settings.home
    _clear(home, wipe=not keep)
    # Settings name the servers of the last demo; those are gone.
    invocation = Invocation(invocation.target, home, invocation.color)
    shop = Shop(seed=seed, users=users, start=system_clock())
    with ExitStack() as stack:
        stack.callback(_clear, home, wipe=False)
        play = _Play(invocation, stack, shop, history=events, rate=rate)
        try:
            is_right = play.run(seconds, kill_stream_after)
        except KeyboardInterrupt:
            play.screen.say("stopped before the end: nothing was compared")
            raise
    if not is_right:
        raise typer.Exit(1)


def demo_home(invocation: Invocation) -> Invocation:
    """The same invocation in the demo's own folder, unless a home was named."""
    if invocation.home is not None or os.environ.get("HEADRACE_HOME"):
        return invocation
    return Invocation(invocation.target, project_root() / ".headrace" / "demo", invocation.color)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _clear(home: Path, *, wipe: bool) -> None:
    """End what runs under ``home``; with ``wipe``, take away what a demo left there."""
    stop_services(home)
    embedded.down(home)
    if wipe and home.exists():
        if any(home.iterdir()) and not (home / "run").is_dir():
            raise OperatorError(f"{home} holds something else than a demo; name another --home")
        shutil.rmtree(home)


class _Play:
    """One performance, from raising the curtain to the proof."""

    def __init__(
        self, invocation: Invocation, stack: ExitStack, shop: Shop, *, history: int, rate: int
    ) -> None:
        began = time.monotonic()
        self.screen = Screen(invocation.out)
        before = invocation.settings
        self.screen.say(f"starting Postgres, Kafka and Redis under {before.home}")
        embedded.up(before.home, before)
        again = Invocation(invocation.target, before.home, invocation.color)
        settings, loaded = again.settings, again.loaded
        self.root, self.target = loaded.root, loaded.target
        prepare(settings)
        rules = load_rules(self.root / settings.rules)
        store = stack.enter_context(_open_store(settings))
        publish(store, settings, rules, author="demo", reason="headrace demo")
        self.journal = stack.enter_context(Journal(settings.home))
        producer = stack.enter_context(ConfluentProducer(settings.kafka_bootstrap))
        self.performance = Performance(
            shop=shop,
            producer=producer,
            topic=in_namespace(settings.namespace, EVENTS),
            journal=self.journal,
            clock=system_clock,
            # What an earlier demo left is history enough.
            history=0 if self.journal.total else history,
            rate=rate,
        )
        self.performance.start()
        self.screen.say("starting the streaming job, the loader and the API")
        start_services(settings, root=self.root, target=self.target)
        self.settings = Invocation(invocation.target, before.home, invocation.color).settings
        moves = moves_of(self.settings)
        moves.start()
        stack.callback(moves.stop)
        self.api = Api(
            f"http://{self.settings.api_host}:{self.settings.api_port}",
            self.settings.api_key.get_secret_value(),
        )
        self.observer = Observer(
            self.settings, store, self.api, moves, self.journal, system_clock, began
        )

    def run(self, seconds: float | None, kill_after: float | None) -> bool:
        """Play for ``seconds``, then prove; True if everything is right."""
        with self.screen:
            self._live(seconds, kill_after)
            self.performance.stop()
            self._catch_up()
            self.screen.show(self.observer.look("closing"))
        return self._prove()

    def _live(self, seconds: float | None, kill_after: float | None) -> None:
        opened = greeted = killed = False
        deadline = kill_at = float("inf")
        while time.monotonic() < deadline or (kill_after is not None and not killed):
            if self.performance.failure is not None:
                return
            if not opened and self.performance.opened.is_set():
                opened, now = True, time.monotonic()
                self.screen.say(f"history is sent: {self.journal.total} messages; now live")
                deadline = now + seconds if seconds is not None else deadline
                kill_at = now + kill_after if kill_after is not None else kill_at
            view = self.observer.look("live" if opened else "history")
            self.screen.show(view)
            if not greeted and any(line.members for line in view.segments):
                greeted = True
                self._greet(max(view.segments, key=lambda line: line.members).id, view.seconds)
            # A job of which nobody has seen anything yet would prove nothing.
            if not killed and time.monotonic() >= kill_at and greeted:
                killed = self._kill_stream()
            if not killed and time.monotonic() >= kill_at + PATIENCE_SECONDS:
                raise OperatorError(
                    f"nobody has become a member within {PATIENCE_SECONDS:.0f} s, so there is no"
                    f" stream worth killing; its log is in {self.settings.home / 'logs'}"
                )
            time.sleep(LOOK_EVERY_SECONDS)

    def _greet(self, segment: str, seconds: float) -> None:
        user = self.api.some_member(segment)
        base = self.api.base
        for line in (
            f"first membership served after {seconds:.0f} s; try:",
            f"  curl -s {base}/v1/segments",
            f"  curl -s {base}/v1/users/{user}/segments",
            f"  curl -s '{base}/v1/segments/{segment}/members?limit=5'",
            f"  curl -s {base}/v1/memberships:batch -H 'content-type: application/json'"
            f' -d \'{{"users":["{user}"]}}\'',
            "change a file under rules/segments, or add one, and let it take effect:",
            f"  HEADRACE_HOME={self.settings.home} .venv/bin/headrace apply rules",
        ):
            self.screen.say(line)

    def _kill_stream(self) -> bool:
        """SIGKILL to the streaming job's process group, as a machine that fails would do."""
        rows = self.observer.store.live_progress(JOB)
        if not rows or rows[0].pid is None:
            return False
        os.killpg(os.getpgid(rows[0].pid), signal.SIGKILL)
        self.screen.say(f"killed the streaming job (process group of {rows[0].pid}) by SIGKILL")
        return True

    def _catch_up(self) -> None:
        """Wait until a batch has read everything that was sent, under the rules applied last."""
        wanted, store = self.observer.ends(), self.observer.store
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self.screen.show(self.observer.look("closing"))
            batches, running = self.observer.batches(), store.running_plan(JOB)
            is_newest = running is not None and running.plan_hash == store.target_hash(JOB)
            is_done = is_newest and batches[-1].linked
            if is_done and covers(batches[-1].ends.get(self.observer.topic, {}), wanted):
                return
            time.sleep(LOOK_EVERY_SECONDS / 2)
        raise OperatorError(
            f"the stream has not read everything after {PATIENCE_SECONDS:.0f} s;"
            f" its log is in {self.settings.home / 'logs'}"
        )

    def _prove(self) -> bool:
        """Stop the stream between two batches and compare everything at its last instant."""
        batches = self._close()
        now = batches[-1].now
        self._await_loader(now)
        self.screen.say(plain_line(self.observer.look("closed")))
        return self._accounted(accounts(batches)) & self._equal(now)

    def _close(self) -> list[LoggedBatch]:
        """Stop the stream between two batches; all of its batches.

        A batch that was cut short is partly published: the job is started again to finish it.
        """
        for _ in range(CLOSING_ATTEMPTS):
            Children(self.settings.home).stop("watch", patience=STOP_SECONDS)
            launch = self.observer.store.progress(JOB, limit=1)[0]
            if launch.exit_code == 0:
                return self.observer.batches()
            self.screen.say(f"the streaming job was cut short ({launch.exit_code}); once more")
            start_services(self.settings, root=self.root, target=self.target)
            self._await_batch_after(self.observer.batches()[-1].n)
        raise OperatorError(f"the streaming job does not stop in good order; see {launch.log_path}")

    def _await_batch_after(self, n: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.observer.batches()[-1].n <= n:
            if time.monotonic() > deadline:
                raise OperatorError("the streaming job does not come back")
            time.sleep(LOOK_EVERY_SECONDS)

    def _await_loader(self, now: Instant) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            as_of = self.api.segments()[1]
            # Equal, not later: before the first batch the loader says just how new its topic is.
            if as_of == now:
                return
            time.sleep(0.2)
        raise OperatorError(
            f"the loader has not reached {format_instant(now)};"
            f" its log is {self.settings.home / 'logs' / 'load.log'}"
        )

    def _accounted(self, found: Accounts) -> bool:
        """Everything sent is accepted, a duplicate or quarantined, exactly as it was meant."""
        counts = self.journal.counts
        meant = Accounts(
            accepted=counts["event"],
            duplicates=counts["duplicate"],
            quarantined=counts["garbage"],
        )
        self.screen.say(f"sent {self.journal.total} = {found}")
        if found != meant:
            self.screen.say(f"but meant were {meant}")
        return found == meant

    def _held(self) -> tuple[str, ...]:
        target = self.observer.store.target_plan("stream")
        assert target is not None, "the demo has published rules"
        return held_segments(Plan.from_json(target.text))

    def _equal(self, now: Instant) -> bool:
        store = self.observer.store
        catalog = store.catalog()
        assert catalog is not None, "the demo has published rules"
        expected = expected_members(
            self.journal.lines,
            [version.segment for version in store.active_versions()],
            catalog,
            now,
            processes=os.cpu_count() or 1,
        )
        joined = families(self.journal.lines)
        users = sorted({*self.performance.shop.users, *joined, *(user for _, user in expected)})
        held = self._held()
        served = self.api.memberships(users)
        comparison = compare(
            (pair for pair in expected if pair[0] not in held),
            (pair for pair in served if pair[0] not in held),
        )
        for difference in comparison.differences[:SHOWN_DIFFERENCES]:
            self.screen.say(f"  {difference}")
        instant = format_instant(now)
        self.screen.say(f"compared {len(users)} users as of {instant} with the reference evaluator")
        for segment in held:
            self.screen.say(f"not compared: {segment}, whose members hang on when batches ran")
        self.screen.say(str(comparison))
        return not comparison.differences


@contextmanager
def _open_store(settings: Settings) -> Iterator[Store]:
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        yield store
    finally:
        store.close()
