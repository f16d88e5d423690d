"""What operators change over HTTP: as the commands do, streams one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import structlog

from headrace.errors import OperatorError, Problem, RuleError
from headrace.jobs.letters import Letter, Replay, dead_letters, replay, require_all
from headrace.rules.fixes import parse_fix
from headrace.rules.streams import parse_stream
from headrace.runtime.publication import Publication
from headrace.runtime.streams import activate_stream, add_stream, pause_stream, retire_stream
from headrace.serving.ports import Kept, Moved, StreamMove, WantedLetters
from headrace.serving.problems import Problem as Refusal
from headrace.serving.problems import unavailable
from headrace.settings import Settings
from headrace.store import Store

T = TypeVar("T")

# What an operator's mistake is to a client, by its code.
MISTAKES: Final = {
    "HR941": (404, "unknown-letter"),
    "HR947": (404, "unknown-stream"),
    "HR948": (409, "not-now"),
    "HR949": (409, "taken"),
    "HR961": (409, "not-compatible"),
    "HR967": (409, "busy"),
}
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StoredChanges:
    """Carries changes out on Postgres and Kafka."""

    store: Store
    settings: Settings
    turn: asyncio.Lock

    async def add_stream(self, text: str, *, by: str, reason: str, incompatible: bool) -> Kept:
        """Keep a version of the stream that ``text`` spells."""

        def added() -> Kept:
            stream = parse_stream(text, "body")
            version = add_stream(
                self.store, self.settings, stream, author=by, reason=reason,
                incompatible=incompatible,
            )  # fmt: skip
            return Kept(stream.id, version)

        async with self.turn:
            return await _carried_out(added)

    async def move_stream(
        self, id: str, move: StreamMove, *, version: int | None, by: str, reason: str
    ) -> Moved:
        """Activate, pause or retire a stream."""
        given = {"author": by, "reason": reason}
        match move:
            case "activate":
                work: Callable[[], Publication] = partial(
                    activate_stream, self.store, self.settings, id, version=version, **given
                )
            case "pause":
                work = partial(pause_stream, self.store, self.settings, id, **given)
            case "retire":
                work = partial(retire_stream, self.store, self.settings, id, **given)

        def moved() -> Moved:
            done = work()
            warning = (done.warning,) if done.warning else ()
            stored = next(one for one in self.store.streams() if one.id == id)
            return Moved(id, stored.state, stored.version, (*done.unfed, *warning))

        async with self.turn:
            return await _carried_out(moved)

    async def replay(self, wanted: WantedLetters, *, by: str, dry_run: bool) -> Replay:
        """Send rejected messages again, each at most once."""

        def replayed() -> Replay:
            fix = None if wanted.fix is None else parse_fix(wanted.fix, "body")

            def chosen(letter: Letter) -> bool:
                return wanted.asks_for(letter.dead.place, letter.dead.reason) and (
                    fix is None or fix.concerns(letter.dead.reason)
                )

            letters: Iterable[Letter] = dead_letters(self.settings, chosen)
            if wanted.places is not None:
                letters = list(letters)
                require_all(letters, wanted.places)
            return replay(self.settings, self.store, letters, fix=fix, by=by, dry_run=dry_run)

        return await _carried_out(replayed)


async def _carried_out(work: Callable[[], T]) -> T:
    """What ``work`` returns; Problem for what it refuses, 503 where a server is away."""
    try:
        return await asyncio.to_thread(work)
    except RuleError as error:
        raise _not_one(error.problems) from error
    except OperatorError as error:
        if error.code in MISTAKES:
            status, code = MISTAKES[error.code]
            raise Refusal(status, code, str(error)) from error
        # Its words name addresses and settings: they stay here.
        log.warning("a change over HTTP was not carried out", error=str(error))
        detail = "a server that this needs does not answer; the same request may succeed"
        raise unavailable("not-carried-out", detail) from error


def _not_one(problems: tuple[Problem, ...]) -> Refusal:
    errors = [{"detail": str(problem)} for problem in problems]
    count = f"{len(errors)} problems" if len(errors) > 1 else "a problem"
    return Refusal(422, "invalid-document", f"the document has {count}", errors)
