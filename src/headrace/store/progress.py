"""Progress of jobs: a row for every launch, backfill and recompute, from start to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from headrace.store.tables import progress

# "reserve": a launch that waits to go on in the place of another.
Kind = Literal[
    "launch",
    "reserve",
    "backfill",
    "recompute",
    "upkeep",
    "quality",
    "export",
    "list",
    "replay",
    "pull",
]
# "lost": nobody saw it end. "failing": the last of several quick failures.
State = Literal["starting", "running", "done", "stopped", "failed", "failing", "lost"]
ALIVE: tuple[State, ...] = ("starting", "running")
BROKEN_OFF: tuple[State, ...] = ("failed", "lost")
# What a scheduler runs again and again: one that broke off stands until the next has ended well.
SCHEDULED: tuple[Kind, ...] = ("recompute", "upkeep", "quality", "pull")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One run of a job."""

    id: int
    job: str
    kind: Kind
    state: State
    pid: int | None
    exit_code: int | None
    log_path: str | None
    plan_hash: str | None
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Has nobody said that it ended?"""
        return self.state in ALIVE


def begin(
    connection: Connection,
    job: str,
    kind: Kind,
    *,
    plan_hash: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """A new row in state ``starting``; its id."""
    id_: int = connection.execute(
        insert(progress)
        .values(
            job=job,
            kind=kind,
            state="starting",
            plan_hash=plan_hash,
            details=details or {},
        )
        .returning(progress.c.id)
    ).scalar_one()
    return id_


def started(
    connection: Connection,
    progress_id: int,
    *,
    pid: int,
    log_path: str | None,
    details: Mapping[str, Any],
) -> None:
    """The process exists."""
    connection.execute(
        update(progress)
        .where(progress.c.id == progress_id)
        .values(state="running", pid=pid, log_path=log_path, updated_at=func.now())
        .values(details=_merged(details))
    )


def promote(connection: Connection, progress_id: int) -> None:
    """One in reserve is the launch that runs now."""
    connection.execute(
        update(progress)
        .where(progress.c.id == progress_id, progress.c.kind == "reserve")
        .values(kind="launch", updated_at=func.now())
    )


def heartbeat(connection: Connection, job: str, details: Mapping[str, Any]) -> bool:
    """Merge ``details`` into the row of the launch that is alive; False when there is none."""
    newest = (
        select(func.max(progress.c.id))
        .where(
            progress.c.job == job,
            progress.c.kind == "launch",
            progress.c.state.in_(ALIVE),
        )
        .scalar_subquery()
    )
    done = connection.execute(
        update(progress)
        .where(progress.c.id == newest)
        .values(updated_at=func.now(), details=_merged(details))
        .returning(progress.c.id)
    )
    return done.one_or_none() is not None


def end(
    connection: Connection,
    progress_id: int,
    state: State,
    *,
    exit_code: int | None = None,
) -> None:
    """Close the row, once: the first word about the end stays.

    Backfills run inside their job, so with its last launch they have ended too.
    """
    over = {"updated_at": func.now(), "ended_at": func.now()}
    is_open = progress.c.ended_at.is_(None)
    connection.execute(
        update(progress)
        .where(progress.c.id == progress_id, is_open)
        .values(state=state, exit_code=exit_code, **over)
    )
    launch, other = progress.alias(), progress.alias()
    ended = select(launch.c.job).where(launch.c.id == progress_id, launch.c.kind == "launch")
    is_alive = (
        select(other.c.id)
        .where(other.c.job == progress.c.job, other.c.kind == "launch", other.c.ended_at.is_(None))
        .exists()
    )
    connection.execute(
        update(progress)
        .where(progress.c.kind == "backfill", progress.c.job.in_(ended), is_open, ~is_alive)
        .values(state="failed" if state == "failing" else state, **over)
    )


def note(connection: Connection, progress_id: int, details: Mapping[str, Any]) -> None:
    """Merge ``details`` into a row: how far the run is, and what it has found."""
    connection.execute(
        update(progress)
        .where(progress.c.id == progress_id)
        .values(updated_at=func.now(), details=_merged(details))
    )


def finished_run(connection: Connection, kind: Kind, run_id: str) -> Progress | None:
    """The row of the logical run ``run_id``, if that has been done."""
    done = (
        progress.c.kind == kind,
        progress.c.state == "done",
        progress.c.details["run_id"].astext == run_id,
    )
    return next(iter(_rows(connection, *done, limit=1)), None)


def forget(connection: Connection, age: timedelta) -> int:
    """Drop the rows of what ended longer ago than ``age``; how many."""
    done = connection.execute(delete(progress).where(progress.c.ended_at < func.now() - age))
    return done.rowcount


def latest(connection: Connection, job: str, *, kind: Kind, limit: int = 1) -> list[Progress]:
    """The newest rows of a job, newest first."""
    return _rows(connection, progress.c.job == job, progress.c.kind == kind, limit=limit)


def alive(connection: Connection, job: str, *, kind: Kind) -> list[Progress]:
    """The rows of a job that nobody has closed, newest first."""
    return _rows(
        connection,
        progress.c.job == job,
        progress.c.kind == kind,
        progress.c.state.in_(ALIVE),
        limit=None,
    )


def under_way(connection: Connection) -> list[Progress]:
    """What runs beside the launches, of every job, newest first."""
    return _rows(connection, progress.c.kind != "launch", progress.c.state.in_(ALIVE), limit=None)


def broken_off(connection: Connection) -> list[Progress]:
    """Scheduled runs that did not come to their end, and none of their kind has since."""
    newest = (
        select(func.max(progress.c.id))
        .where(progress.c.kind.in_(SCHEDULED), progress.c.ended_at.is_not(None))
        .group_by(progress.c.kind)
    )
    return _rows(
        connection, progress.c.id.in_(newest), progress.c.state.in_(BROKEN_OFF), limit=None
    )


def _rows(
    connection: Connection, *conditions: ColumnElement[bool], limit: int | None
) -> list[Progress]:
    rows = connection.execute(
        select(progress).where(*conditions).order_by(progress.c.id.desc()).limit(limit)
    )
    return [Progress(**row) for row in rows.mappings()]


def _merged(details: Mapping[str, Any]) -> ColumnElement[Any]:
    return progress.c.details.concat(type_coerce(dict(details), JSONB))
