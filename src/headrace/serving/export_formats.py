"""What an export is written as, piece by piece."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import orjson
import pyarrow as pa
from pyarrow import parquet

from headrace.clock import Instant, format_instant
from headrace.engine.cells import as_text, neutral

Format = Literal["csv", "ndjson", "parquet"]
MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}


OWN: Final = ("user_id", "entered_at")


@dataclass(frozen=True, slots=True)
class Row:
    """A member, since when, and the traits asked for that are known."""

    user_id: str
    entered_at: Instant
    traits: Mapping[str, Any]


def column(trait: str) -> str:
    """What the column of a trait is called: two columns of one name cannot be read."""
    return f"trait.{trait}" if trait in OWN else trait


class Writing(Protocol):
    """A file in the making: what ``write`` and then ``end`` return, one after another, is it."""

    def write(self, rows: Sequence[Row]) -> bytes:
        """Further rows."""

    def end(self) -> bytes:
        """What stands behind all rows."""


def writing(format: Format, traits: Sequence[str]) -> Writing:
    """A new file with a place for each of ``traits``."""
    match format:
        case "csv":
            return _Csv(traits)
        case "ndjson":
            return _Ndjson()
        case "parquet":
            return _Parquet(traits)


class _Csv:
    """RFC 4180: a header, then cells of text. No spreadsheet computes any of them."""

    def __init__(self, traits: Sequence[str]) -> None:
        self._traits = traits
        self._text = io.StringIO()
        self._out = csv.writer(self._text, lineterminator="\r\n")
        self._out.writerow(["user_id", "entered_at", *(neutral(column(name)) for name in traits)])

    def write(self, rows: Sequence[Row]) -> bytes:
        for row in rows:
            cells = (as_text(row.traits.get(name)) or "" for name in self._traits)
            entered = format_instant(row.entered_at)
            self._out.writerow([neutral(row.user_id), entered, *map(neutral, cells)])
        return self.end()

    def end(self) -> bytes:
        told = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return told.encode()


class _Ndjson:
    """An object a line, values as they are."""

    def write(self, rows: Sequence[Row]) -> bytes:
        return b"".join(
            orjson.dumps(
                {
                    "user_id": row.user_id,
                    "entered_at": format_instant(row.entered_at),
                    "traits": row.traits,
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for row in rows
        )

    def end(self) -> bytes:
        return b""


class _Parquet:
    """Row groups of some thousand members; traits as text, as their columns may hold anything."""

    ROWS = 20_000

    def __init__(self, traits: Sequence[str]) -> None:
        self._traits = traits
        self._schema = pa.schema(
            [
                ("user_id", pa.string()),
                ("entered_at", pa.timestamp("ms", "UTC")),
                *((column(name), pa.string()) for name in traits),
            ]
        )
        self._file = _Sink()
        self._out = parquet.ParquetWriter(self._file, self._schema)
        self._waiting: list[Row] = []

    def write(self, rows: Sequence[Row]) -> bytes:
        self._waiting += rows
        if len(self._waiting) >= self.ROWS:
            self._write_group()
        return self._file.taken()

    def end(self) -> bytes:
        self._write_group()
        self._out.close()
        return self._file.taken()

    def _write_group(self) -> None:
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        columns = [
            pa.array([row.user_id for row in rows], pa.string()),
            pa.array([row.entered_at for row in rows], pa.timestamp("ms", "UTC")),
            *(
                pa.array([as_text(row.traits.get(name)) for row in rows], pa.string())
                for name in self._traits
            ),
        ]
        self._out.write_table(pa.table(columns, schema=self._schema))


class _Sink(io.RawIOBase):
    """Where a file is written to that goes out before it is whole."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, part: Any, /) -> int:
        self._parts.append(bytes(part))
        self._size += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._size

    def taken(self) -> bytes:
        """What was written since."""
        told = b"".join(self._parts)
        self._parts.clear()
        return told
