"""Passwords of databases that are read as streams: a file of properties, one line a stream.

Only Kafka Connect, which opens the file itself, and the removal of a stream need them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from headrace.embedded.children import make_private, write_private
from headrace.errors import OperatorError
from headrace.settings import Settings

FILE: Final = Path("secrets") / "databases.properties"
_LINE = re.compile(r"([A-Za-z0-9_.-]+)=(.*)")


def reference(settings: Settings, stream: str) -> str:
    """Where Kafka Connect finds the password: what its provider of files replaces."""
    file = settings.connect.passwords or settings.home / FILE
    return f"${{file:{file}:{settings.namespace}{stream}}}"


def keep(settings: Settings, stream: str, password: str) -> None:
    """Keep a password, for this user's eyes and the embedded worker's.

    Workers of somebody else read a file of their own, in the same form.
    """
    file = settings.home / FILE
    make_private(file.parent)
    known = {**_read(file), f"{settings.namespace}{stream}": password}
    write_private(file, "".join(f"{name}={_escaped(of)}\n" for name, of in sorted(known.items())))


def known(settings: Settings, stream: str) -> str:
    """The password that was kept for a stream; empty where none was."""
    return _read(settings.home / FILE).get(f"{settings.namespace}{stream}", "")


def _read(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OperatorError(f"cannot read {file}: {error}", code="HR972") from error
    found = (_LINE.fullmatch(line) for line in lines)
    return {line[1]: _plain(line[2]) for line in found if line is not None}


def _escaped(text: str) -> str:
    """As ``java.util.Properties`` reads it: every sign but letters and digits by its number."""
    units = text.encode("utf-16-be")
    pairs = (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    return "".join(
        chr(unit) if chr(unit).isascii() and chr(unit).isalnum() else f"\\u{unit:04x}"
        for unit in pairs
    )


def _plain(text: str) -> str:
    def unit(found: re.Match[str]) -> str:
        return chr(int(found[1], 16))

    return (
        re.sub(r"\\u([0-9a-f]{4})", unit, text)
        .encode("utf-16-be", "surrogatepass")
        .decode("utf-16-be")
    )
