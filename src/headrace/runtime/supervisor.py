"""Keep what runs equal to what Postgres says: one streaming job, launched, watched, relaunched.

Who may run it is decided by a lease, so that of several runtimes one acts. Two writers never
meet: whoever gets the lease first finds and ends, or goes on with, what earlier runtimes of the
same home have left; if the lease was taken from another machine, it first waits as long as that
machine needs to notice. While Postgres is away the job streams on: nobody else can get the lease
either.

A second one may wait in reserve, warm: it writes nothing, and goes on at once when the first is
gone, since the kernel then gives it the lock on the tables.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog

from headrace.errors import OperatorError
from headrace.metrics import Metrics
from headrace.runtime.backoff import Backoff
from headrace.runtime.publication import JOB
from headrace.runtime.writer import Writer, Writers
from headrace.settings import Settings
from headrace.settings.places import project_root
from headrace.store import SERVICE_SECONDS, Store, StoreDown
from headrace.store.leases import new_holder
from headrace.store.progress import Kind, State

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds; the defaults suit production, tests are in a hurry."""

    poll: float = 0.5
    lease: float = 15.0
    renew: float = 5.0
    # Asking a Postgres that is away more rarely than this would delay the return by as much.
    away: float = 2.0
    # For the job to end its batch.
    patience: float = 15.0
    # One in reserve is launched when the job has run so long, so as not to slow its start.
    reserve: float = 45.0
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def takeover(self) -> float:
        """Until a runtime elsewhere that lost its lease has surely ended its job."""
        return self.renew + self.patience + 15.0


def launch_command(settings: Settings, target: str | None) -> tuple[Sequence[str], Path]:
    """The streaming job's command line and the folder to run it in."""
    root = project_root()
    command = ["./spark-submit.sh", "jobs/run_stream.py", "--home", str(settings.home.absolute())]
    return command + (["--target", target] if target else []), root


def supervise(
    settings: Settings,
    stop: threading.Event,
    *,
    target: str | None = None,
    command: tuple[Sequence[str], Path] | None = None,
    timings: Timings | None = None,
    metrics_port: int | None = None,
) -> None:
    """Run until ``stop`` is set; then end the job and give the lease back.

    The work is done in a thread: a Postgres that hangs must not keep us from ending the job.
    """
    supervisor = Supervisor(
        store=Store(
            settings.postgres_url.get_secret_value(), settings.namespace, patience=SERVICE_SECONDS
        ),
        writers=Writers(settings.home, patience=(timings or Timings()).patience),
        command=command or launch_command(settings, target),
        timings=timings or Timings(),
        with_reserve=settings.stream.reserve,
    )
    if metrics_port is not None:
        supervisor.metrics.serve(metrics_port)
    thread = threading.Thread(target=supervisor.run, args=(stop,), name="supervise", daemon=True)
    thread.start()
    stop.wait()
    thread.join(timeout=1.0)
    if thread.is_alive():
        # Ending the job or stuck in Postgres; ending twice does no harm, not ending would.
        supervisor.end_writer()
        thread.join(timeout=2.0)


@dataclass(slots=True)
class Supervisor:
    """One runtime: its lease, its child, and what it still has to tell Postgres."""

    store: Store
    writers: Writers
    command: tuple[Sequence[str], Path]
    timings: Timings
    holder: str = field(default_factory=new_holder)
    with_reserve: bool = False
    writer: Writer | None = None
    reserve: Writer | None = None
    backoff: Backoff = field(init=False)
    leased: bool = False
    renewed_at: float = float("-inf")
    not_before: float = float("-inf")
    no_reserve_before: float = float("-inf")
    settled: bool = False
    untold: deque[Callable[[], None]] = field(default_factory=deque)
    ending: threading.Lock = field(default_factory=threading.Lock)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.backoff = self.timings.backoff

    def run(self, stop: threading.Event) -> None:
        """Step until told to stop. Nothing but ``stop`` ends the loop."""
        trouble = ""
        while not stop.is_set():
            pause = self.timings.poll
            try:
                self.step()
                if trouble:
                    log.info("all is well again")
                trouble = ""
            except OperatorError as error:
                if error.code != trouble:
                    log.warning("waiting; what runs runs on", reason=str(error))
                trouble, pause = error.code, self.timings.away
            except Exception:
                log.exception("step failed")
                pause = self.timings.away
            stop.wait(pause)
        self.leave()

    def step(self) -> None:
        """One look at the child, one at Postgres, and what follows from both."""
        self.watch()
        self.metrics.set("headrace_job_up", float(self.writer is not None))
        self.keep_lease()
        self.tell()
        if not self.leased or time.monotonic() < self.not_before:
            return
        if not self.settled:
            self.settle()
        if self.writer is None and time.monotonic() >= self.not_before:
            plan = self.store.target_hash(JOB)
            if plan is not None:
                self.writer = self.launch(plan, "launch")
                self.no_reserve_before = time.monotonic() + self.timings.reserve
        self.keep_reserve()

    def keep_reserve(self) -> None:
        """Launch one in reserve, where one is wanted, and another when it is gone."""
        reserve = self.reserve
        if reserve is not None and not reserve.is_alive:
            self.end_reserve("failed")
            self.no_reserve_before = time.monotonic() + self.timings.reserve
        if not self.with_reserve or self.reserve is not None or self.writer is None:
            return
        if time.monotonic() >= self.no_reserve_before:
            plan = self.store.target_hash(JOB)
            self.reserve = self.launch(plan, "reserve", "--in-reserve")

    def keep_lease(self) -> None:
        """Take or renew the lease; without it no child of ours may run."""
        if self.leased and time.monotonic() - self.renewed_at < self.timings.renew:
            return
        lease = self.store.take_lease(JOB, self.holder, timedelta(seconds=self.timings.lease))
        if lease is None:
            if self.leased:
                log.warning("lease lost", holder=self.store.lease_holder(JOB))
            self.leased = self.settled = False
            self.end_writer()
            return
        self.renewed_at = time.monotonic()
        if not self.leased:
            self.leased = True
            former = lease.taken_from
            log.info("lease taken", holder=self.holder, former=former)
            if former is not None and former.split("/")[0] != socket.gethostname():
                self.not_before = self.renewed_at + self.timings.takeover

    def settle(self) -> None:
        """Deal with what earlier runtimes of this home left: go on with one, end the rest."""
        left = self.writers.found()
        alive = [writer for writer in left if writer.is_alive]
        launches = self.store.live_progress(JOB)
        reserves = self.store.live_progress(JOB, kind="reserve")
        named = {row.id for row in launches}
        # One in reserve that is alone has taken over, or is about to.
        running = [writer for writer in alive if writer.launch in named] or alive
        chosen = running[-1] if running else None
        # Those in reserve first, for they would go on in the place of any that is ended.
        for writer in sorted(left, key=lambda writer: writer.launch in named):
            if writer is not chosen:
                self.writers.end(writer)
        for row in (*launches, *reserves):
            if chosen is None or row.id != chosen.launch:
                self.store.end_progress(row.id, "lost")
        if chosen is not None:
            log.info("going on with a job that runs", launch=chosen.launch, pid=chosen.record.pid)
            self.writer = chosen
            self.store.promote(chosen.launch)
            self.no_reserve_before = time.monotonic() + self.timings.reserve
        self.settled = True

    def launch(self, plan: str | None, kind: Kind, *arguments: str) -> Writer:
        """Start the job as a child in a session of its own."""
        command, cwd = self.command
        number = self.store.begin_progress(JOB, kind, plan_hash=plan)
        try:
            writer = self.writers.start(number, [*command, *arguments], cwd=cwd)
        except Exception:
            state: State = "failed"
            if kind == "launch":
                self.backoff = self.backoff.after(0.0)
                self.not_before = time.monotonic() + self.backoff.wait
                state = self._failure()
            self.no_reserve_before = time.monotonic() + self.timings.reserve
            self.untold.append(partial(self.store.end_progress, number, state))
            raise
        self.metrics.count("headrace_launches_total")
        log.info("launched", kind=kind, launch=number, pid=writer.record.pid, log=writer.record.log)
        details = {
            "host": socket.gethostname(),
            "started": writer.record.started,
            "command": list(command),
        }
        self.untold.append(
            partial(
                self.store.started,
                number,
                pid=writer.record.pid,
                log_path=writer.record.log,
                details=details,
            )
        )
        return writer

    def watch(self) -> None:
        """Notice the end of the child, clear up after it and decide when to try again."""
        with self.ending:
            writer = self.writer
            if writer is None or writer.is_alive:
                return
            self.writer = None
        ran = time.monotonic() - writer.since
        self.writers.end(writer)  # a dead launcher may leave a live driver
        self.backoff = self.backoff.after(ran)
        self.not_before = time.monotonic() + self.backoff.wait
        self.no_reserve_before = time.monotonic() + self.timings.reserve
        self.metrics.count("headrace_crashes_total")
        log.warning(
            "the streaming job ended",
            launch=writer.launch,
            exit_code=writer.exit_code,
            ran_seconds=round(ran, 1),
            next_try_in=self.backoff.wait,
            log=writer.record.log,
        )
        self.untold.append(
            partial(
                self.store.end_progress,
                writer.launch,
                self._failure(),
                exit_code=writer.exit_code,
            )
        )
        self.call_reserve()

    def call_reserve(self) -> None:
        """Let the one in reserve be the job: it has gone on by itself."""
        with self.ending:
            reserve = self.reserve
            if reserve is None or not reserve.is_alive:
                return
            reserve.since = time.monotonic()
            self.writer, self.reserve = reserve, None
        log.info("the one in reserve goes on", launch=reserve.launch, pid=reserve.record.pid)
        self.untold.append(partial(self.store.promote, reserve.launch))

    def end_reserve(self, state: State = "stopped") -> None:
        """End the one in reserve, if there is one."""
        with self.ending:
            reserve, self.reserve = self.reserve, None
            if reserve is None:
                return
            self.writers.end(reserve)
        self.untold.append(
            partial(self.store.end_progress, reserve.launch, state, exit_code=reserve.exit_code)
        )

    def end_writer(self) -> None:
        """End the child, if there is one, and note that it was us."""
        self.end_reserve()  # it would go on in its place
        with self.ending:
            writer, self.writer = self.writer, None
            if writer is None:
                return
            self.writers.end(writer)
        log.info("ended the streaming job", launch=writer.launch, exit_code=writer.exit_code)
        self.untold.append(
            partial(self.store.end_progress, writer.launch, "stopped", exit_code=writer.exit_code)
        )

    def tell(self) -> None:
        """Write down what happened, in order, also while Postgres was away."""
        while self.untold:
            try:
                self.untold[0]()
            except StoreDown:
                raise
            except Exception:
                log.exception("not recorded")  # and never will be: it must not stop the rest
            self.untold.popleft()

    def leave(self) -> None:
        """End the child first, then let others have the lease."""
        self.end_writer()
        try:
            self.tell()
            if self.leased:
                self.store.release_lease(JOB, self.holder)
        except StoreDown as error:
            log.warning("postgres is away; the lease will expire", error=str(error))
        self.store.close()

    def _failure(self) -> State:
        return "failing" if self.backoff.is_failing else "failed"
