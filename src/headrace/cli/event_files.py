"""Lines of event files for ``headrace evaluate``, and what is said of the bad ones."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import orjson

from headrace.errors import OperatorError
from headrace.rules.catalog import LIST

STDIN = "-"
FIRST_LINES = 5  # of each reason are named, the others are counted
LONGEST_ID = 256


class EventLines:
    """Lines of files one after the other, blank ones left out; knows where each came from."""

    def __init__(self, files: Sequence[str], more: Sequence[bytes] = ()) -> None:
        self._files = files
        self._more = more
        self._origins: list[tuple[str, int]] = []
        self._bad: dict[tuple[str, str], list[int]] = defaultdict(list)

    @property
    def has_more(self) -> bool:
        """Are there lines beside the files'?"""
        return bool(self._more)

    def __iter__(self) -> Iterator[bytes]:
        self._origins.clear()
        self._bad.clear()
        for file in self._files:
            with opened(file) as lines:
                for number, line in enumerate(lines, 1):
                    line = line.rstrip(b"\r\n")
                    if line.strip():
                        self._origins.append((file, number))
                        yield line
        for line in self._more:
            self._origins.append(("--lists", 0))
            yield line

    def note(self, number: int, reason: str) -> None:
        """Remember that the ``number``-th line given out was refused."""
        file, line = self._origins[number - 1]
        self._bad[file, reason].append(line)

    def summary(self) -> list[str]:
        """One sentence for each file and reason."""
        sentences = []
        for (file, reason), lines in sorted(self._bad.items()):
            shown = ", ".join(str(line) for line in lines[:FIRST_LINES])
            more = f" and {len(lines) - FIRST_LINES:,} more" if len(lines) > FIRST_LINES else ""
            plural = "line" if len(lines) == 1 else "lines"
            sentences.append(
                f"{file}: skipped {len(lines):,} {plural}: {reason} ({plural} {shown}{more})"
            )
        return sentences


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """``file`` for reading bytes: standard input for ``-``, unpacked when it ends in .gz."""
    try:
        if file == STDIN:
            yield sys.stdin.buffer
        elif file.endswith(".gz"):
            with gzip.open(file, "rb") as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            with Path(file).open("rb") as lines:
                yield lines
    except (EOFError, zlib.error) as error:
        raise OperatorError(f"cannot read {file}: {error}", code="HR903") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OperatorError(
            f"cannot read {file}: {error.strerror or error}", code="HR903"
        ) from error


def listed_users(folder: Path) -> list[bytes]:
    """A fact for each user on a list ``NAME.csv``: listed users belong to the population.

    A trait for each list, at the beginning of time: it follows joins, and a deletion takes it
    along, in every engine alike.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise OperatorError(f"the lists folder {folder} {what}", code="HR903")
    lists: dict[str, dict[str, bool]] = defaultdict(dict)
    for file in sorted(folder.glob("*.csv")):
        with opened(str(file)) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    user = line.decode().strip("\r\n").removeprefix("\ufeff")
                except UnicodeDecodeError:
                    raise OperatorError(f"{file}:{number}: not UTF-8", code="HR903") from None
                if len(user) > LONGEST_ID or "\0" in user:
                    raise OperatorError(f"{file}:{number}: not a user id", code="HR903")
                if user:
                    lists[user][LIST + file.stem] = True
    return [
        orjson.dumps({"type": "traits", "user_id": user, "ts": 0, "traits": on})
        for user, on in sorted(lists.items())
    ]
