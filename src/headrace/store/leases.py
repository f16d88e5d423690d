"""Leases: who may run a job. Each step is one statement and expiry is by the database's clock."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from headrace.store.tables import leases


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease held. ``taken_from`` is a holder that let it expire instead of releasing it."""

    job: str
    holder: str
    taken_from: str | None


def new_holder() -> str:
    """A name for one that would hold a lease: its machine, its process, and what tells two of the
    same process apart."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"


def take(connection: Connection, job: str, holder: str, ttl: timedelta) -> Lease | None:
    """The lease, if it is free, expired or already the holder's own; None if another has it."""
    # clock_timestamp, not now: waiting for a row lock must not make an old time count.
    clock = func.clock_timestamp()
    again = leases.c.holder == holder
    row = connection.execute(
        insert(leases)
        .values(job=job, holder=holder, taken_at=clock, expires_at=clock + ttl)
        .on_conflict_do_update(
            index_elements=[leases.c.job],
            set_={
                "holder": holder,
                "previous": case((again, leases.c.previous), else_=leases.c.holder),
                "taken_at": case((again, leases.c.taken_at), else_=clock),
                "expires_at": clock + ttl,
            },
            where=or_(again, leases.c.expires_at <= clock),
        )
        .returning(leases.c.previous)
    ).one_or_none()
    return Lease(job, holder, row.previous) if row else None


def renew(connection: Connection, job: str, holder: str, ttl: timedelta) -> bool:
    """Hold on for another ``ttl``; False when another has taken the lease since.

    A lease that expired while nobody else wanted it is still its holder's.
    """
    done = connection.execute(
        update(leases)
        .where(leases.c.job == job, leases.c.holder == holder)
        .values(expires_at=func.clock_timestamp() + ttl)
        .returning(leases.c.job)
    )
    return done.one_or_none() is not None


def release(connection: Connection, job: str, holder: str) -> None:
    """Give the lease up, if it is the holder's."""
    connection.execute(delete(leases).where(leases.c.job == job, leases.c.holder == holder))


def holder_of(connection: Connection, job: str) -> str | None:
    """Who holds the lease now."""
    return connection.execute(
        select(leases.c.holder).where(
            leases.c.job == job, leases.c.expires_at > func.clock_timestamp()
        )
    ).scalar_one_or_none()
