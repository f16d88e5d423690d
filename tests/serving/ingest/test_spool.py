"""Events on disk: in order, whole, bounded, and there again after a death."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import OperatorError
from headrace.kafka.acked import Message
from headrace.serving.ingest import spool as module
from headrace.serving.ingest.spool import SOURCE, Damaged, Full, Spool
from properties import looking

MIB = 1 << 20


def message(number: int, size: int = 10) -> Message:
    topic = "web.clicks" if number % 3 == 2 else ""
    return Message(f"user-{number}".encode(), b"%d" % number * size, ((SOURCE, b"shop"),), topic)


def drained(spool: Spool, most_bytes: int = 100) -> list[Message]:
    found: list[Message] = []
    while (chunk := spool.head(most_bytes)) is not None:
        found += chunk.messages
        spool.forget(chunk)
    return found


@pytest.mark.parametrize("file_bytes", [50, 1_000, 8 * MIB])
def test_what_goes_in_comes_out_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_bytes: int
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", file_bytes)
    spool = Spool(tmp_path, MIB)
    sent = [message(number) for number in range(50)]
    assert spool.is_empty
    for begin in range(0, 50, 5):
        spool.append(sent[begin : begin + 5])
    assert not spool.is_empty
    assert drained(spool) == sent
    assert spool.is_empty


@looking(100)
@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=90)), max_size=20), st.data())
def test_a_death_amid_an_append_leaves_what_was_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, MIB)
    sent = [Message(key, value) for key, value in parts]
    if sent:
        spool.append(sent)
    spool.append([message(1)])
    spool.close()
    (file,) = folder.glob("*.spool")
    whole = file.read_bytes()
    last = len(module._record(message(1)))  # the record that the death cuts off
    cut = data.draw(st.integers(1, last))
    torn = whole[: len(whole) - cut] + data.draw(
        st.binary(max_size=3) | st.integers(0, 40).map(bytes)
    )
    file.write_bytes(torn)
    again = Spool(folder, MIB)
    again.append([message(2)])
    assert drained(again) == [*sent, message(2)]
    again.close()


def test_a_restart_sends_again_what_may_not_have_been_sent(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MIB)
    spool.append([message(number) for number in range(4)])
    chunk = spool.head(1)
    assert chunk is not None and chunk.messages == (message(0),)
    spool.forget(chunk)
    spool.close()
    again = Spool(tmp_path, MIB)
    assert drained(again) == [message(number) for number in range(4)]
    assert list(tmp_path.glob("*.spool")) == []


def test_the_bound_holds_and_nothing_of_a_refused_append_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 300)
    spool.append([message(1)])
    with pytest.raises(Full):
        spool.append([message(number) for number in range(2, 20)])
    spool.append([message(2)])
    assert spool.bytes <= 300
    assert drained(spool) == [message(1), message(2)]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MIB)
    with pytest.raises(OperatorError, match="HEADRACE_INGEST__SPOOL"):
        Spool(tmp_path, MIB)
    spool.close()
    Spool(tmp_path, MIB).close()


def test_damage_behind_which_events_lie_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 50)
    spool = Spool(tmp_path, MIB)
    for number in range(4):
        spool.append([message(number)])
    spool.close()
    first = min(tmp_path.glob("*.spool"))
    damaged = bytearray(first.read_bytes())
    damaged[-1] ^= 1
    first.write_bytes(damaged)
    again = Spool(tmp_path, MIB)
    chunk = again.head(1)
    assert chunk is not None and chunk.messages == (message(0),)
    again.forget(chunk)
    for _ in range(2):
        with pytest.raises(Damaged, match="damaged at byte 32"):
            again.head(1)
    again.close()
    os.truncate(first, 32)
    mended = Spool(tmp_path, MIB)
    assert drained(mended) == [message(0), message(2), message(3)]


def test_what_a_start_cuts_off_is_kept_beside(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MIB)
    spool.append([message(1)])
    spool.close()
    (file,) = tmp_path.glob("*.spool")
    with file.open("ab") as stream:
        stream.write(bytes(20))
    again = Spool(tmp_path, MIB)
    assert drained(again) == [message(1)]
    (cut,) = tmp_path.glob("*.cut")
    assert cut.read_bytes() == bytes(20)


def test_a_disk_that_fails_once_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, MIB)

    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    for name in ("fsync", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(module.os, name, failing)
            with pytest.raises(Full, match="Input/output error"):
                spool.append([message(9)])
    spool.append([message(1)])
    assert drained(spool) == [message(1)]
