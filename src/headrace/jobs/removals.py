"""Receipts of forgotten users, as far as rounds of removal have come."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from headrace.clock import DAY
from headrace.spark.erased import Erased
from headrace.store import Receipt, Store

# What the tables declare: VACUUM leaves a file for so long after its last row is gone.
FILES_KEPT = 7 * DAY


@dataclass(slots=True)
class Receipts:
    """Writes into open receipts what a round of removal has done for them; once for each round.

    What could not be told, Postgres being away, is told after a later batch.
    """

    store: Store
    secret: str = field(repr=False)
    _told: Erased | None = None

    def follow(self, erased: Erased | None) -> None:
        """Let receipts say what is so after the newest round."""
        if erased is None or erased == self._told:
            return
        for receipt in self.store.unfinished_receipts():
            now = after_round(receipt, erased)
            if now != receipt:
                self.store.keep_receipt(now.signed(self.secret))
        self._told = erased


def after_round(receipt: Receipt, erased: Erased) -> Receipt:
    """What ``receipt`` says once a round has ended, still to be signed.

    Its VACUUM took the files of rows that were gone a week before it began.
    """
    if receipt.n is None or receipt.n > erased.n:
        return receipt
    if receipt.erased_at is None:
        return replace(receipt, erased_at=erased.ended)
    if receipt.erased_at <= erased.began - FILES_KEPT:
        return replace(receipt, removed_at=erased.ended)
    return receipt
