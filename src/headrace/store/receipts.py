"""Receipts: who was forgotten, by an HMAC; when it was asked for, done online and physically."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from headrace.clock import DAY, Instant
from headrace.engine.tombstone import tombstone
from headrace.store.tables import receipts

# Eight hours at most until rows are gone, seven days for their files, eight hours more for VACUUM.
REMOVED_WITHIN = 8 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One request to forget, as far as it has come.

    ``key`` is the tombstone of the id, ``n`` a batch by which the stream had carried it out. Copies
    online are gone since ``carried_out_at``, rows of tables since ``erased_at``, their files since
    ``removed_at``.
    """

    id: str
    key: str
    forgotten_until: Instant
    requested_at: Instant
    remove_by: Instant
    carried_out_at: Instant | None = None
    n: int | None = None
    erased_at: Instant | None = None
    removed_at: Instant | None = None
    signature: str = ""

    @staticmethod
    def asked(user: str, secret: str, *, at: Instant) -> Receipt:
        """The receipt of a request to forget everything of ``user`` up to ``at``."""
        return Receipt(
            id=secrets.token_hex(8),
            key=tombstone(user, secret),
            forgotten_until=at,
            requested_at=at,
            remove_by=at + REMOVED_WITHIN,
        ).signed(secret)

    def signed(self, secret: str) -> Receipt:
        """The same under the signature that its content has."""
        return replace(self, signature=self._signature(secret))

    def is_genuine(self, secret: str) -> bool:
        """Is it as it was signed?"""
        return hmac.compare_digest(self.signature, self._signature(secret))

    def _signature(self, secret: str) -> str:
        content = {name: value for name, value in asdict(self).items() if name != "signature"}
        text = "headrace receipt\0" + json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def ask(connection: Connection, receipt: Receipt) -> Receipt:
    """Keep a new receipt; of an id whose request is still to be carried out, the one there is."""
    asked = insert(receipts).values(**asdict(receipt))
    standing = asked.on_conflict_do_update(
        index_elements=[receipts.c.key],
        index_where=receipts.c.carried_out_at.is_(None),
        set_={"key": receipts.c.key},  # nothing changes, and the row there is comes back
    )
    row = connection.execute(standing.returning(*receipts.c)).mappings().one()
    return Receipt(**row)


def keep(connection: Connection, receipt: Receipt) -> None:
    """Let the receipt of that id say how far it has come."""
    fields = asdict(receipt)
    changed = update(receipts).where(receipts.c.id == fields.pop("id")).values(**fields)
    connection.execute(changed)


def find(connection: Connection, receipt_id: str) -> Receipt | None:
    """The receipt of that id."""
    found = connection.execute(select(receipts).where(receipts.c.id == receipt_id))
    row = found.mappings().one_or_none()
    return None if row is None else Receipt(**row)


def unfinished(connection: Connection) -> list[Receipt]:
    """Those carried out online and not yet removed physically, the oldest first."""
    done = receipts.c.carried_out_at.is_not(None), receipts.c.removed_at.is_(None)
    rows = connection.execute(select(receipts).where(*done).order_by(receipts.c.requested_at))
    return [Receipt(**row) for row in rows.mappings()]
