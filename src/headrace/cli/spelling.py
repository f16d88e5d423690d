"""``headrace convert`` and ``headrace fmt``: the two spellings of a rule, and how it is written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from headrace.errors import OperatorError
from headrace.rules.comments import Comments, yaml_comments
from headrace.rules.folder import SQL, catalog_near, read_rule
from headrace.rules.model import Segment
from headrace.rules.nodes import Mapping, Scalar, read_node
from headrace.rules.printer import print_segment
from headrace.rules.sql import print_sql
from headrace.rules.sql.comments import sql_comments

FORMATTED = (".yaml", ".yml", SQL)


class Spelling(StrEnum):
    """How a rule is written."""

    SQL = "sql"
    YAML = "yaml"


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.command()(convert)
    app.command("fmt")(format_rules)


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A segment, in YAML or SQL.")],
    to: Annotated[Spelling, typer.Option(help="The spelling to print.")],
) -> None:
    """Print a segment in the other spelling; it means the same."""
    segment = _read(file, _text(file))
    if segment is None:
        raise typer.Exit(1)
    if to is Spelling.SQL and segment.tests:
        count = len(segment.tests)
        plural = "test stays" if count == 1 else "tests stay"
        hint = "keep tests in files of their own, under tests/"
        print(f"{file}: {count} {plural} behind: SQL has none ({hint})", file=sys.stderr)
    _say(_printed(segment, file, to))


def format_rules(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATHS]..", help="Segments, or folders.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 when a file would.")
    ] = False,
    drop_comments: Annotated[
        bool, typer.Option("--drop-comments", help="Also where comments inside are lost.")
    ] = False,
) -> None:
    """Write segments as they are printed; comments above everything stay."""
    broken = changed = 0
    for file in _files(paths or [Path("rules")]):
        text = _text(file)
        if file.suffix != SQL and not _is_segment(text):
            continue
        segment = _read(file, text)
        if segment is None:
            broken += 1
            continue
        comments = sql_comments(text) if file.suffix == SQL else yaml_comments(text)
        if comments.others and not drop_comments:
            broken += 1
            hint = "--drop-comments formats it without them"
            message = f"{file}:{comments.others[0]}: the comment would be lost ({hint})"
            print(message, file=sys.stderr)
            continue
        formatted = _formatted(segment, file, comments)
        if formatted != text:
            changed += 1
            _say(f"{file}\n")
            if not check:
                file.write_bytes(formatted.encode())
    if broken or (check and changed):
        raise typer.Exit(1)


def _formatted(segment: Segment, file: Path, comments: Comments) -> str:
    spelling = Spelling.SQL if file.suffix == SQL else Spelling.YAML
    leading = "".join(f"{line.rstrip()}\n" for line in comments.leading)
    return leading + _printed(segment, file, spelling)


def _printed(segment: Segment, file: Path, to: Spelling) -> str:
    if to is Spelling.YAML:
        return print_segment(segment)
    return print_sql(replace(segment, tests=()), catalog_near(file))


def _read(file: Path, text: str) -> Segment | None:
    """The segment in ``text``; all its problems on standard error, and None, when it is broken."""
    read = read_rule(text, str(file))
    for problem in read.problems:
        print(problem, file=sys.stderr)
    is_broken = any(problem.severity == "error" for problem in read.problems)
    return None if is_broken else read.segment


def _is_segment(text: str) -> bool:
    """Is it a segment, or meant to be one? Catalogs and tests lie beside them."""
    node = read_node(text, "", [])
    kind = node.get("kind") if isinstance(node, Mapping) else None
    return not isinstance(kind, Scalar) or kind.text == "Segment"


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = path / "segments"
        found = (inside if inside.is_dir() else path).rglob("*")
        yield from sorted(file for file in found if file.suffix in FORMATTED and file.is_file())


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise OperatorError(f"cannot read {file}: {reason}", code="HR903") from error
    except UnicodeDecodeError as error:
        raise OperatorError(f"cannot read {file}: not UTF-8", code="HR903") from error


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())  # texts of rules, whatever the locale
    sys.stdout.buffer.flush()
