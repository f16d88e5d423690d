"""What the rest of the program asks of Postgres, each question its own short transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from headrace.rules.catalog import Catalog
from headrace.rules.source import Rules
from headrace.store import (
    api_keys,
    audit,
    catalogs,
    holds,
    leases,
    migrate,
    plans,
    progress,
    receipts,
    replays,
    sources,
    streams,
    versions,
)
from headrace.store.api_keys import ApiKey
from headrace.store.audit import Entry, Verdict
from headrace.store.connection import DEFAULT_SCHEMA, Database
from headrace.store.edition import Edition
from headrace.store.history import History, history_of
from headrace.store.holds import Hold
from headrace.store.leases import Lease
from headrace.store.outcome import Applied
from headrace.store.plans import Execution, StoredPlan
from headrace.store.progress import Kind, Progress, State
from headrace.store.receipts import Receipt
from headrace.store.registry import PostgresRegistry
from headrace.store.sources import Source
from headrace.store.streams import StoredStream
from headrace.store.versions import StoredVersion


class Store:
    """Rules, plans, targets, leases, progress and audit of one namespace.

    Every method raises StoreDown, an OperatorError, while Postgres does not answer; with
    ``patience`` also when it is there and says nothing for so many seconds.
    """

    def __init__(self, url: str, namespace: str = "", *, patience: float | None = None) -> None:
        self._database = Database(url, namespace or DEFAULT_SCHEMA, patience=patience)

    def close(self) -> None:
        """Let go of idle connections."""
        self._database.close()

    def migrate(self, revision: str = migrate.LATEST) -> None:
        """Bring the tables to this release's shape."""
        with self._database.begin() as connection:
            migrate.migrate(connection, self._database.schema, revision)

    # Publishing

    @contextmanager
    def publishing(self, *, dry_run: bool = False) -> Iterator[Edition]:
        """One publishing transaction, one publisher at a time; rolled back after a ``dry_run``.

        It migrates first, so that the first publisher needs no step before it.
        """
        with self._database.begin() as connection:
            migrate.migrate(connection, self._database.schema)
            yield Edition(connection)
            if dry_run:
                connection.rollback()

    def apply(
        self, rules: Rules, author: str = "", reason: str = "", *, prune: bool = False
    ) -> Applied:
        """Apply rules alone, without compiling them; see `Edition.apply`."""
        with self.publishing() as edition:
            return edition.apply(rules, author=author, reason=reason, prune=prune)

    def ids(self, kind: str, hashes: Sequence[str]) -> list[int]:
        """The registry, outside of publishing."""
        with self._database.begin() as connection:
            return PostgresRegistry(connection).ids(kind, hashes)

    # Rules

    def active_versions(self) -> list[StoredVersion]:
        """The active version of every segment, by segment id."""
        with self._database.begin() as connection:
            return versions.active(connection)

    def history(self, segment_id: str) -> History:
        """Every version of a segment; OperatorError when it never had one."""
        with self._database.begin() as connection:
            return history_of(connection, segment_id)

    def catalog(self) -> Catalog | None:
        """The catalog in force."""
        with self._database.begin() as connection:
            return catalogs.latest(connection)

    # Plans

    def plan(self, prefix: str) -> StoredPlan | None:
        """The one plan whose hash is or begins with ``prefix``."""
        with self._database.begin() as connection:
            return plans.plan(connection, prefix)

    def target_plan(self, job: str) -> StoredPlan | None:
        """The plan ``job`` should run."""
        with self._database.begin() as connection:
            return plans.target_plan(connection, job)

    def target_hash(self, job: str) -> str | None:
        """The hash alone of `target_plan`."""
        with self._database.begin() as connection:
            return plans.target_hash(connection, job)

    def record_execution(self, job: str, plan_hash: str, batch: int) -> None:
        """Note that ``job`` executes a plan since ``batch``; may be said again."""
        with self._database.begin() as connection:
            plans.record_execution(connection, job, plan_hash, batch)

    def running_plan(self, job: str) -> Execution | None:
        """What ``job`` executes, by its own latest word."""
        with self._database.begin() as connection:
            return plans.running(connection, job)

    def execution_of(self, job: str, plan_hash: str) -> Execution | None:
        """Since when ``job`` executes (or executed) a plan."""
        with self._database.begin() as connection:
            return plans.execution_of(connection, job, plan_hash)

    # Leases

    def take_lease(self, job: str, holder: str, ttl: timedelta) -> Lease | None:
        """The lease, if it is free, expired or already the holder's own."""
        with self._database.begin() as connection:
            return leases.take(connection, job, holder, ttl)

    def renew_lease(self, job: str, holder: str, ttl: timedelta) -> bool:
        """Hold on for another ``ttl``; False when another has taken it."""
        with self._database.begin() as connection:
            return leases.renew(connection, job, holder, ttl)

    def release_lease(self, job: str, holder: str) -> None:
        """Give the lease up, if it is the holder's."""
        with self._database.begin() as connection:
            leases.release(connection, job, holder)

    def lease_holder(self, job: str) -> str | None:
        """Who holds the lease now."""
        with self._database.begin() as connection:
            return leases.holder_of(connection, job)

    # Progress

    def begin_progress(
        self,
        job: str,
        kind: Kind,
        *,
        plan_hash: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> int:
        """A new row in state ``starting``; its id."""
        with self._database.begin() as connection:
            return progress.begin(connection, job, kind, plan_hash=plan_hash, details=details)

    def started(
        self,
        progress_id: int,
        *,
        pid: int,
        log_path: str | None = None,
        details: Mapping[str, Any],
    ) -> None:
        """The process of a row exists."""
        with self._database.begin() as connection:
            progress.started(connection, progress_id, pid=pid, log_path=log_path, details=details)

    def promote(self, progress_id: int) -> None:
        """One in reserve is the launch that runs now; of any other nothing changes."""
        with self._database.begin() as connection:
            progress.promote(connection, progress_id)

    def heartbeat(self, job: str, details: Mapping[str, Any]) -> bool:
        """Merge ``details`` into the row of the live launch; False when there is none."""
        with self._database.begin() as connection:
            return progress.heartbeat(connection, job, details)

    def note_progress(self, progress_id: int, details: Mapping[str, Any]) -> None:
        """Merge ``details`` into a row."""
        with self._database.begin() as connection:
            progress.note(connection, progress_id, details)

    def finished_run(self, kind: Kind, run_id: str) -> Progress | None:
        """The row of the logical run ``run_id``, if that has been done."""
        with self._database.begin() as connection:
            return progress.finished_run(connection, kind, run_id)

    def end_progress(self, progress_id: int, state: State, *, exit_code: int | None = None) -> None:
        """Close a row; the first word about its end stays."""
        with self._database.begin() as connection:
            progress.end(connection, progress_id, state, exit_code=exit_code)

    def forget_progress(self, age: timedelta) -> int:
        """Drop the rows of what ended longer ago than ``age``; how many."""
        with self._database.begin() as connection:
            return progress.forget(connection, age)

    def progress(self, job: str, *, kind: Kind = "launch", limit: int = 20) -> list[Progress]:
        """The newest rows of a job, newest first."""
        with self._database.begin() as connection:
            return progress.latest(connection, job, kind=kind, limit=limit)

    def live_progress(self, job: str, *, kind: Kind = "launch") -> list[Progress]:
        """The rows of a job that nobody has closed, newest first."""
        with self._database.begin() as connection:
            return progress.alive(connection, job, kind=kind)

    def under_way(self) -> list[Progress]:
        """What runs beside the launches: backfills, recomputes, upkeep, newest first."""
        with self._database.begin() as connection:
            return progress.under_way(connection)

    def broken_off(self) -> list[Progress]:
        """Scheduled runs that did not come to their end, and none of their kind has since."""
        with self._database.begin() as connection:
            return progress.broken_off(connection)

    # Holds

    def hold(self, segment_id: str, reason: str, *, seen: timedelta) -> bool:
        """Hold a segment's outputs, unless they are, or were released less than ``seen`` ago."""
        with self._database.begin() as connection:
            return holds.hold(connection, segment_id, reason, seen=seen)

    def release_hold(self, segment_id: str, *, by: str) -> bool:
        """Let a segment's outputs go; False when they are not held."""
        with self._database.begin() as connection:
            return holds.release(connection, segment_id, by=by)

    def holds(self) -> list[Hold]:
        """The segments whose outputs are held, by id."""
        with self._database.begin() as connection:
            return holds.open_holds(connection)

    # Receipts

    def ask_to_forget(self, receipt: Receipt) -> Receipt:
        """Keep a new receipt; of an id whose request is still open, the one there is."""
        with self._database.begin() as connection:
            return receipts.ask(connection, receipt)

    def keep_receipt(self, receipt: Receipt) -> None:
        """Let the receipt of that id say how far it has come."""
        with self._database.begin() as connection:
            receipts.keep(connection, receipt)

    def receipt(self, receipt_id: str) -> Receipt | None:
        """The receipt of that id."""
        with self._database.begin() as connection:
            return receipts.find(connection, receipt_id)

    def unfinished_receipts(self) -> list[Receipt]:
        """Those carried out online and not yet removed physically, the oldest first."""
        with self._database.begin() as connection:
            return receipts.unfinished(connection)

    # Rejected messages

    def replayed(self, places: Sequence[str]) -> set[str]:
        """Those of ``places`` (topic/partition/offset) that have been sent again."""
        with self._database.begin() as connection:
            return replays.among(connection, places)

    def note_replayed(self, places: Sequence[str]) -> None:
        """Remember that these have been sent again."""
        with self._database.begin() as connection:
            replays.note(connection, places)

    # Sources of events

    def add_source(self, source: Source, *, by: str) -> None:
        """Let a new source send; OperatorError when one of that name may already."""
        with self._database.begin() as connection:
            migrate.migrate(connection, self._database.schema)
            sources.add(connection, source, by=by)

    def revoke_source(self, name: str, *, by: str) -> bool:
        """Let a source send no more; False when none of that name may."""
        with self._database.begin() as connection:
            migrate.migrate(connection, self._database.schema)
            return sources.revoke(connection, name, by=by)

    # API keys

    def add_api_key(self, key: ApiKey, *, by: str) -> None:
        """Let a new key open what its role may; OperatorError when an open one has its name."""
        with self._database.begin() as connection:
            migrate.migrate(connection, self._database.schema)
            api_keys.add(connection, key, by=by)

    def rotate_api_key(
        self, name: str, key_hash: str, key_hint: str, *, until: datetime, by: str
    ) -> ApiKey | None:
        """Put a new key beside the one of that name, which ends at ``until``; None without one."""
        with self._database.begin() as connection:
            migrate.migrate(connection, self._database.schema)
            return api_keys.rotate(connection, name, key_hash, key_hint, until=until, by=by)

    def revoke_api_key(self, name: str, *, by: str) -> bool:
        """End the keys of that name; False when none is open."""
        with self._database.begin() as connection:
            migrate.migrate(connection, self._database.schema)
            return api_keys.revoke(connection, name, by=by)

    def api_keys(self) -> list[ApiKey]:
        """All keys there are and were, by name and age."""
        with self._database.begin() as connection:
            return api_keys.every(connection)

    def note_api_keys_used(self, used: Mapping[str, datetime]) -> None:
        """Remember when keys, by hash, were used last."""
        with self._database.begin() as connection:
            api_keys.note_used(connection, used)

    def streams(self) -> list[StoredStream]:
        """All streams, by id."""
        with self._database.begin() as connection:
            return streams.every(connection)

    def note_trouble(self, stream: StoredStream, trouble: str) -> None:
        """Note what keeps a stream, as it was seen, from its database; empty for nothing."""
        with self._database.begin() as connection:
            streams.note_trouble(connection, stream, trouble)

    def note_pulled(self, stream: str, to: datetime) -> None:
        """Note the greatest watermark that has been read of a stream's table."""
        with self._database.begin() as connection:
            streams.note_pulled(connection, stream, to)

    def sources(self) -> list[Source]:
        """All sources there are and were, by name."""
        with self._database.begin() as connection:
            return sources.every(connection)

    # Audit

    def record(self, actor: str, entry: Entry) -> None:
        """Put a change into the audit log that has no other row here."""
        with self._database.begin() as connection:
            migrate.migrate(connection, self._database.schema)
            audit.append(connection, actor, [entry])

    def verify_audit(self) -> Verdict:
        """Walk the chain of the audit log."""
        with self._database.begin() as connection:
            return audit.verify(connection)
