"""API keys: who may ask, and change, what. Of a key its hash alone is kept."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import Connection, bindparam, func, insert, or_, select, update

from headrace.errors import OperatorError
from headrace.store import audit
from headrace.store.audit import Entry
from headrace.store.tables import api_keys

Role = Literal["viewer", "analyst", "approver", "operator", "admin"]
Permission = Literal["read", "reveal", "author", "approve", "operate", "administer"]

# `reveal`: to see what identifies a person. `author`: rules, as drafts. `operate`: streams, and
# messages that were rejected. `administer`: who may what.
MAY: Final[Mapping[Role, frozenset[Permission]]] = {
    "viewer": frozenset(("read",)),
    "analyst": frozenset(("read", "author")),
    "approver": frozenset(("read", "author", "approve")),
    "operator": frozenset(("read", "reveal", "operate")),
    "admin": frozenset(("read", "reveal", "author", "approve", "operate", "administer")),
}
KEY_PREFIX: Final = "hrk_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key. One that ``reveals`` shows what identifies a person, whatever its role."""

    name: str
    key_hash: str
    key_hint: str
    role: Role
    reveals: bool = False
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def may(self) -> frozenset[Permission]:
        """What its holder may do."""
        return MAY[self.role] | {"reveal"} if self.reveals else MAY[self.role]

    def is_open(self, now: datetime) -> bool:
        """Does it still open anything?"""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_api_key() -> str:
    """A key: 256 random bits behind a prefix that scanners of code can know."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def add(connection: Connection, key: ApiKey, *, by: str) -> None:
    """Keep a new key; OperatorError when an open one has its name. Needs the schema's lock."""
    if any(one.name == key.name and one.is_open(datetime.now(UTC)) for one in every(connection)):
        raise OperatorError(
            f"there is a key {key.name!r} already; `headrace keys rotate` replaces it,"
            " `revoke` ends it",
            code="HR964",
        )
    _keep(connection, key)
    audit.append(connection, by, [Entry(action="key.add", subject=key.name, after=_told(key))])


def rotate(
    connection: Connection, name: str, key_hash: str, key_hint: str, *, until: datetime, by: str
) -> ApiKey | None:
    """Put a new key beside the open one of that name, which ends at ``until``; the new one.

    None when there is no open one. Needs the schema's lock.
    """
    now = datetime.now(UTC)
    known = [one for one in every(connection) if one.name == name and one.is_open(now)]
    if not known:
        return None
    old = known[-1]
    connection.execute(
        update(api_keys)
        .where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
        .where(or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > until))
        .values(expires_at=until)
    )
    fresh = ApiKey(
        name=name, key_hash=key_hash, key_hint=key_hint, role=old.role, reveals=old.reveals,
        expires_at=old.expires_at,
    )  # fmt: skip
    _keep(connection, fresh)
    entry = Entry(action="key.rotate", subject=name, before=_told(old), after=_told(fresh))
    audit.append(connection, by, [entry])
    return fresh


def revoke(connection: Connection, name: str, *, by: str) -> bool:
    """End all open keys of a name; False when there are none. Needs the schema's lock."""
    done = connection.execute(
        update(api_keys)
        .where(
            api_keys.c.name == name,
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()),
        )
        .values(revoked_at=func.now())
        .returning(api_keys.c.key_hint)
    ).all()
    if done:
        hints = {"key_hints": [row.key_hint for row in done]}
        audit.append(connection, by, [Entry(action="key.revoke", subject=name, before=hints)])
    return bool(done)


def note_used(connection: Connection, used: Mapping[str, datetime]) -> None:
    """Remember when keys, by hash, were used last."""
    statement = (
        update(api_keys)
        .where(api_keys.c.key_hash == bindparam("hash"))
        .values(last_used_at=func.greatest(api_keys.c.last_used_at, bindparam("at")))
    )
    connection.execute(statement, [{"hash": key, "at": at} for key, at in used.items()])


def every(connection: Connection) -> list[ApiKey]:
    """All keys there are and were, by name and age."""
    rows = connection.execute(
        select(*(column for column in api_keys.c if column.name != "id")).order_by(
            api_keys.c.name, api_keys.c.id
        )
    )
    return [ApiKey(**row) for row in rows.mappings()]


def open_ones(keys: Iterable[ApiKey], now: datetime) -> dict[str, ApiKey]:
    """Those that open something, by hash."""
    return {key.key_hash: key for key in keys if key.is_open(now)}


def _keep(connection: Connection, key: ApiKey) -> None:
    names = ("name", "key_hash", "key_hint", "role", "reveals", "expires_at")
    connection.execute(insert(api_keys).values({name: getattr(key, name) for name in names}))


def _told(key: ApiKey) -> dict[str, object]:
    """A key as the audit log has it."""
    return {
        "key_hint": key.key_hint,
        "role": key.role,
        "reveals": key.reveals,
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
    }
