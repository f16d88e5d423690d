"""Receipts follow the rounds of removal, and say nothing before it is so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headrace.clock import DAY, HOUR
from headrace.jobs.removals import Receipts, after_round
from headrace.spark.erased import Erased
from headrace.store import Receipt, Store

ASKED = 1_790_000_000_000
CARRIED_OUT = replace(Receipt.asked("ann", "key", at=ASKED), carried_out_at=ASKED + 5, n=10)
GONE = ASKED + 8 * HOUR
REWRITTEN = replace(CARRIED_OUT, erased_at=GONE)


@pytest.mark.parametrize(
    ("receipt", "erased", "expected"),
    [
        pytest.param(CARRIED_OUT, Erased(9, 0, GONE), (None, None), id="a round before it"),
        pytest.param(CARRIED_OUT, Erased(10, 0, GONE), (GONE, None), id="the first round since"),
        pytest.param(
            REWRITTEN,
            Erased(99, GONE + 7 * DAY - 1, GONE + 7 * DAY + HOUR),
            (GONE, None),
            id="its VACUUM may have come too early",
        ),
        pytest.param(
            REWRITTEN,
            Erased(99, GONE + 7 * DAY, GONE + 7 * DAY + HOUR),
            (GONE, GONE + 7 * DAY + HOUR),
            id="its VACUUM took the files",
        ),
    ],
)
def test_what_a_receipt_says(
    receipt: Receipt, erased: Erased, expected: tuple[int | None, int | None]
) -> None:
    told = after_round(receipt, erased)
    assert (told.erased_at, told.removed_at) == expected


def test_rounds_every_eight_hours_keep_the_promise() -> None:
    receipt, began = CARRIED_OUT, ASKED + 8 * HOUR
    while receipt.removed_at is None:
        receipt = after_round(receipt, Erased(99, began, began + HOUR))
        began += 8 * HOUR
    assert receipt.removed_at <= receipt.remove_by


def test_receipts_are_signed_anew_and_closed_ones_left_alone(database_url: str) -> None:
    store = Store(database_url)
    store.migrate()
    store.ask_to_forget(replace(CARRIED_OUT, carried_out_at=None, n=None))
    waiting = store.ask_to_forget(Receipt.asked("bob", "key", at=ASKED))
    store.keep_receipt(CARRIED_OUT.signed("key"))
    follower = Receipts(store, "key")
    follower.follow(None)
    for erased in (Erased(10, ASKED, GONE), Erased(20, GONE + 7 * DAY, GONE + 7 * DAY + 5)):
        follower.follow(erased)
        found = store.receipt(CARRIED_OUT.id)
        assert found is not None and found.is_genuine("key") and found.erased_at == GONE
    assert found.removed_at == GONE + 7 * DAY + 5
    assert store.unfinished_receipts() == [] and store.receipt(waiting.id) == waiting
    store.close()
