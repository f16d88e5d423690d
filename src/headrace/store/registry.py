"""The registry of plans in Postgres: one integer per content hash, given once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import Text

from headrace.store.tables import registry


class PostgresRegistry:
    """`headrace.plan.registry.Registry` within the transaction of ``connection``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ids(self, kind: str, hashes: Sequence[str]) -> list[int]:
        """The integers of ``hashes``, in their order; unseen ones are given the next free ones."""
        if not hashes:
            return []
        known = self._known(kind, hashes)
        missing = [content for content in dict.fromkeys(hashes) if content not in known]
        if missing:
            known |= self._given(kind, missing)
            if len(known) < len(set(hashes)):  # another writer gave some in between
                known |= self._known(kind, hashes)
        return [known[content] for content in hashes]

    def _known(self, kind: str, hashes: Sequence[str]) -> dict[str, int]:
        wanted = select(func.unnest(bindparam("hashes", type_=ARRAY(Text))))
        rows = self._connection.execute(
            select(registry.c.hash, registry.c.id).where(
                registry.c.kind == kind, registry.c.hash.in_(wanted)
            ),
            {"hashes": list(hashes)},
        )
        return {row.hash: row.id for row in rows}

    def _given(self, kind: str, hashes: Sequence[str]) -> dict[str, int]:
        # Integers stay dense (membership bits are packed by them), so givers take turns: a
        # sequence would leave a gap for every conflict and every transaction rolled back.
        self._connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtext(:key))"),
            {"key": f"registry:{kind}"},
        )
        following = (
            select(func.coalesce(func.max(registry.c.id) + 1, 0))
            .where(registry.c.kind == kind)
            .scalar_subquery()
        )
        wanted = (
            func.unnest(bindparam("hashes", type_=ARRAY(Text)))
            .table_valued("hash", with_ordinality="place", name="wanted")
            .render_derived()
        )
        taken = select(registry.c.hash).where(registry.c.kind == kind)
        place = func.row_number().over(order_by=wanted.c.place) - 1
        fresh = select(literal(kind), wanted.c.hash, following + place).where(
            wanted.c.hash.not_in(taken)
        )
        rows = self._connection.execute(
            insert(registry)
            .from_select(["kind", "hash", "id"], fresh)
            .on_conflict_do_nothing()
            .returning(registry.c.hash, registry.c.id),
            {"hashes": list(hashes)},
        )
        return {row.hash: row.id for row in rows}
