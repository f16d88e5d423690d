"""Messages on disk while Kafka does not take them: in order, bounded, and synced before they count.

A folder of numbered files, each a run of records; new ones go to the end of the last, and a file
whose messages are all on the broker is deleted. Which part of the first file that is so for is not
written down: after a death its messages go out once more, and their ids tell.

A death may leave half a record at the end, which nobody was told of; what a start cuts off there is
kept beside, as ``.cut``. Damage elsewhere is told when it is reached, and nothing is passed over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from headrace.errors import OperatorError
from headrace.kafka.acked import Message

FILE_BYTES: Final = 8 << 20
# At once, beside the bytes asked for: small ones must not be more than may wait for answers.
MOST_MESSAGES: Final = 5_000
# Length of the rest of the record and its CRC-32; in the rest, lengths of key and source. Behind
# the source, and a NUL, stands the topic of a message that does not go to the usual one.
_HEAD: Final = struct.Struct(">II")
_LENGTHS: Final = struct.Struct(">HH")
SOURCE: Final = "source"  # the header of a message that is kept
log = structlog.get_logger()


class Damaged(OSError):
    """Behind this place of a file nothing can be read, and accepted events may lie there."""

    def __init__(self, file: Path, place: int) -> None:
        super().__init__(
            f"{file} is damaged at byte {place}, and holds accepted events behind it: keep a copy, "
            f"cut it off there (truncate --size={place}) while the process stands, and start again"
        )


class Full(Exception):
    """There is no room: the bound is reached, or the disk is."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages from the head of the spool; ``end`` is where those behind them begin."""

    messages: tuple[Message, ...]
    file: Path
    end: int


class Spool:
    """Used by one process at a time, which holds the folder's lock, and by one thread at a time."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o700)
            _sync_folder(folder.parent)
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise OperatorError(
                f"another process keeps its messages in {folder}; "
                "HEADRACE_INGEST__SPOOL names another folder for this one",
                code="HR942",
            ) from error
        self._files = sorted(folder.glob("*.spool"))
        if self._files:
            _cut_torn_end(self._files[-1])
        self._sizes = {file: file.stat().st_size for file in self._files}
        self._begin = 0  # what of the first file is on the broker

    @property
    def bytes(self) -> int:
        """What it holds on disk."""
        return sum(self._sizes.values())

    @property
    def is_empty(self) -> bool:
        """Is everything on the broker?"""
        return not self._files or (
            len(self._files) == 1 and self._begin >= self._sizes[self._files[0]]
        )

    def append(self, messages: Sequence[Message]) -> None:
        """Write all of ``messages`` behind what there is, and sync; none when it raises Full."""
        data = b"".join(map(_record, messages))
        if self.bytes + len(data) > self._most_bytes:
            raise Full(f"{self._most_bytes >> 20} MiB wait for Kafka already")
        try:
            file = self._last()
            _append(file, data, self._sizes[file])
        except OSError as error:
            raise Full(f"{self._folder}: {error.strerror}") from error
        self._sizes[file] += len(data)

    def head(self, most_bytes: int) -> Chunk | None:
        """The oldest messages, about ``most_bytes`` of them; None when there are none.

        Raises Damaged, and OSError when the disk cannot be read.
        """
        while self._files and self._begin >= self._sizes[self._files[0]]:
            self._drop_first()
        if not self._files:
            return None
        file, messages, end = self._files[0], [], self._begin
        for message, after in _records(file, self._begin, self._sizes[file]):
            messages.append(message)
            end = after
            if end - self._begin >= most_bytes or len(messages) == MOST_MESSAGES:
                break
        if not messages:
            raise Damaged(file, self._begin)
        return Chunk(tuple(messages), file, end)

    def forget(self, chunk: Chunk) -> None:
        """The messages of the head are on the broker."""
        assert self._files and chunk.file == self._files[0], "not the head"
        self._begin = chunk.end
        if self._begin >= self._sizes[chunk.file]:
            self._drop_first()

    def close(self) -> None:
        """Leave the folder to others."""
        os.close(self._lock)

    def _last(self) -> Path:
        """The file to append to; a new one when the last is long enough."""
        if not self._files or self._sizes[self._files[-1]] >= FILE_BYTES:
            number = int(self._files[-1].stem) + 1 if self._files else 0
            file = self._folder / f"{number:08d}.spool"
            # One that is there was made when the folder could not be synced: it is empty.
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
            _sync_folder(self._folder)
            self._files.append(file)
            self._sizes[file] = 0
        return self._files[-1]

    def _drop_first(self) -> None:
        self._files[0].unlink(missing_ok=True)
        self._sizes.pop(self._files.pop(0))
        self._begin = 0


def _record(message: Message) -> bytes:
    source = dict(message.headers).get(SOURCE, b"")
    if message.topic:
        source += b"\0" + message.topic.encode()
    rest = _LENGTHS.pack(len(message.key), len(source)) + message.key + source + message.value
    return _HEAD.pack(len(rest), zlib.crc32(rest)) + rest


def _records(file: Path, begin: int, end: int) -> Iterator[tuple[Message, int]]:
    """Each message between two places of ``file``, with the place behind it."""
    with file.open("rb") as stream:
        stream.seek(begin)
        while begin < end:
            head = stream.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            size, crc = _HEAD.unpack(head)
            if not _LENGTHS.size <= size <= end - begin - _HEAD.size:
                return
            rest = stream.read(size)
            if len(rest) != size or zlib.crc32(rest) != crc:
                return
            key_size, source_size = _LENGTHS.unpack_from(rest)
            value = _LENGTHS.size + key_size + source_size
            key = rest[_LENGTHS.size : value - source_size]
            source, _, topic = rest[value - source_size : value].partition(b"\0")
            headers = ((SOURCE, source),) if source else ()
            begin += _HEAD.size + size
            yield Message(key, rest[value:], headers, topic.decode()), begin


def _cut_torn_end(file: Path) -> None:
    """Leave ``file`` with whole records alone; what is cut off is kept beside it."""
    size = file.stat().st_size
    sound = max((end for _, end in _records(file, 0, size)), default=0)
    if sound < size:
        kept = file.with_suffix(f".{time.time_ns()}.cut")  # numbers of files come again
        with file.open("rb") as stream:
            stream.seek(sound)
            kept.write_bytes(stream.read())
        log.warning("the end of a file of events was torn", file=str(kept), bytes=size - sound)
        os.truncate(file, sound)


def _append(file: Path, data: bytes, size: int) -> None:
    """Add ``data`` to ``file``, which has ``size`` bytes, and sync; leave it so when that fails."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        # By place: what an append left that failed, and could not be cut off, is written over.
        os.lseek(descriptor, size, os.SEEK_SET)
        _write(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
