"""The bytes of a request -> the JSON value they are, and never more of them than are allowed."""

from __future__ import annotations

import zlib
from typing import Any, Final

from headrace.serving.ingest.desk import read_json
from headrace.serving.problems import Problem

LARGEST: Final = 5 << 20
_GZIP: Final = 16 + zlib.MAX_WBITS


def json_of(text: bytes) -> Any:
    """The value of ``text``; Problem 400 when it is none."""
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        raise Problem(400, "invalid-json", "the body is not JSON") from None


def plain(body: bytes, encoding: str) -> bytes:
    """``body`` without its gzip, of which no more than LARGEST bytes are ever unpacked.

    Problem 400, 413 or 415 when that cannot be had.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _unzipped(body)
        case other:
            detail = f"Content-Encoding {other[:40]!r} is not understood; gzip is"
            raise Problem(415, "unknown-encoding", detail)


def _unzipped(body: bytes) -> bytes:
    reader = zlib.decompressobj(_GZIP)
    try:
        found = reader.decompress(body, LARGEST + 1)
    except zlib.error:
        raise Problem(400, "invalid-gzip", "the body is not gzip") from None
    if len(found) > LARGEST:
        raise Problem(413, "body-too-large", f"a body may have {LARGEST} bytes, unpacked too")
    if not reader.eof:
        raise Problem(400, "invalid-gzip", "the gzip of the body ends too early")
    if reader.unused_data:
        raise Problem(400, "invalid-gzip", "something follows the gzip of the body")
    return found
