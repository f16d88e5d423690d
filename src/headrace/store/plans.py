"""Plans by content hash, the one each job should run, and since which batch it runs which."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from headrace.store.tables import executions, plans, targets


class StoredPlan(NamedTuple):
    """A plan's hash and the canonical text it is the hash of."""

    hash: str
    text: str


@dataclass(frozen=True, slots=True)
class Execution:
    """A job executes a plan since a batch."""

    job: str
    plan_hash: str
    since_batch: int
    at: datetime


def put_plan(connection: Connection, text: str) -> str:
    """Store a plan's canonical text unless it is there; its hash."""
    content = hashlib.sha256(text.encode()).hexdigest()
    connection.execute(
        insert(plans)
        .values(hash=content, text=text, body=json.loads(text))
        .on_conflict_do_nothing()
    )
    return content


def plan(connection: Connection, prefix: str) -> StoredPlan | None:
    """The one plan whose hash is or begins with ``prefix``; None if there is none or several."""
    rows = connection.execute(
        select(plans.c.hash, plans.c.text)
        .where(plans.c.hash.startswith(prefix, autoescape=True))
        .limit(2)
    ).all()
    return StoredPlan(rows[0].hash, rows[0].text) if len(rows) == 1 else None


def target_plan(connection: Connection, job: str) -> StoredPlan | None:
    """The plan ``job`` should run."""
    row = connection.execute(
        select(plans.c.hash, plans.c.text)
        .join(targets, targets.c.plan_hash == plans.c.hash)
        .where(targets.c.job == job)
    ).one_or_none()
    return StoredPlan(row.hash, row.text) if row else None


def target_hash(connection: Connection, job: str) -> str | None:
    """The hash alone: what is asked every second."""
    return connection.execute(
        select(targets.c.plan_hash).where(targets.c.job == job)
    ).scalar_one_or_none()


def set_target(connection: Connection, job: str, content: str) -> None:
    """Point ``job`` to a stored plan."""
    connection.execute(
        insert(targets)
        .values(job=job, plan_hash=content)
        .on_conflict_do_update(
            index_elements=[targets.c.job],
            set_={"plan_hash": content, "since": func.now()},
        )
    )


def record_execution(connection: Connection, job: str, content: str, batch: int) -> None:
    """Note that ``job`` executes a plan since ``batch``.

    Said again, by a replayed batch or a restarted job, it stays since the first.
    """
    last = running(connection, job)
    if last is not None and last.plan_hash == content:
        return
    connection.execute(
        insert(executions)
        .values(job=job, plan_hash=content, since_batch=batch)
        .on_conflict_do_nothing()
    )


def running(connection: Connection, job: str) -> Execution | None:
    """What ``job`` executes, by its own latest word."""
    row = connection.execute(
        select(executions)
        .where(executions.c.job == job)
        .order_by(executions.c.since_batch.desc(), executions.c.id.desc())
        .limit(1)
    ).one_or_none()
    return Execution(row.job, row.plan_hash, row.since_batch, row.at) if row else None


def execution_of(connection: Connection, job: str, content: str) -> Execution | None:
    """The latest swap by which ``job`` came to execute a plan."""
    row = connection.execute(
        select(executions)
        .where(executions.c.job == job, executions.c.plan_hash == content)
        .order_by(executions.c.id.desc())
        .limit(1)
    ).one_or_none()
    return Execution(row.job, row.plan_hash, row.since_batch, row.at) if row else None
