"""A request to forget while nothing runs, and receipts on the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from commands import Run
from headrace.kafka.confluent import ConfluentConsumer
from headrace.kafka.kafka_python import KafkaPythonAdmin
from headrace.messages.topics import EVENTS, in_namespace, topic
from headrace.settings import Settings
from headrace.settings.keys import tombstone_key
from headrace.store import Receipt, Store

AT = 1_790_000_000_000


@pytest.fixture(autouse=True)
def _made(settings: Settings, store: Store) -> None:
    store.migrate()
    with KafkaPythonAdmin(settings.kafka_bootstrap) as admin:
        admin.create_topics(settings.namespace, [topic(EVENTS)])


def sent(settings: Settings) -> list[dict[str, object]]:
    name = in_namespace(settings.namespace, EVENTS)
    with ConfluentConsumer(settings.kafka_bootstrap, name, f"{name}-test") as consumer:
        consumer.start_at({part: bound.start for part, bound in consumer.bounds().items()})
        return [json.loads(record.value or b"") for record in consumer.poll(100, 2.0)]


def test_a_request_that_nobody_carries_out_stands_and_is_gone_on_with(
    run: Run, settings: Settings
) -> None:
    code, _, errors = run("forget", "ann", "--timeout", "0")
    assert code == 1 and "HEADRACE_TOMBSTONE_KEY" in errors and "[HR918]" in errors
    tombstone_key(settings)
    told = [run("forget", "ann", "--timeout", "0") for _ in range(2)]
    assert [code for code, *_ in told] == [1, 1]
    assert "waiting for the streaming job, which does not run" in told[0][2]
    assert told[0] == told[1], "the same receipt is waited for"
    first, again = sent(settings)
    assert first == again and (first["type"], first["user_id"]) == ("delete", "ann")


def test_a_receipt_is_shown_and_an_altered_one_is_found_out(
    run: Run, settings: Settings, store: Store
) -> None:
    key = tombstone_key(settings)
    receipt = store.ask_to_forget(Receipt.asked("ann", key, at=AT))
    done = replace(receipt, carried_out_at=AT + 9, n=7).signed(key)
    store.keep_receipt(done)
    code, out, _ = run("forget", "--receipt", receipt.id, "--output", "json")
    told = json.loads(out)
    assert code == 0 and told["genuine"] and "ann" not in out.replace("carried", "")
    assert (told["n"], told["carried_out_at"]) == (7, "2026-09-21T14:13:20.009Z")
    assert told["removed_at"] is None
    assert "removed_at       not yet\n" in run("forget", "--receipt", receipt.id)[1]

    store.keep_receipt(replace(done, removed_at=AT + 10))
    code, out, errors = run("forget", "--receipt", receipt.id, "--output", "json")
    assert (code, json.loads(out)["genuine"]) == (1, False) and "[HR935]" in errors
    code, _, errors = run("forget", "--receipt", "0" * 16)
    assert code == 1 and "no receipt '0000000000000000' [HR934]" in errors


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nobody"),
        pytest.param(["ann", "--receipt", "1"], id="somebody and a receipt"),
        pytest.param(["x" * 257], id="an id that no event can have"),
    ],
)
def test_unclear_requests_are_refused(run: Run, words: list[str]) -> None:
    assert run("forget", *words)[0] == 1


def test_one_open_request_for_an_id(store: Store) -> None:
    first = store.ask_to_forget(Receipt.asked("ann", "key", at=AT))
    assert store.ask_to_forget(Receipt.asked("ann", "key", at=AT + 5)) == first
    assert store.ask_to_forget(Receipt.asked("bob", "key", at=AT)).id != first.id
    assert store.unfinished_receipts() == []
    store.keep_receipt(replace(first, carried_out_at=AT + 6, n=1).signed("key"))
    assert store.ask_to_forget(Receipt.asked("ann", "key", at=AT + 9)).forgotten_until == AT + 9
