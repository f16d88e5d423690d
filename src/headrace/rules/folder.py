"""A folder of rules: ``catalog.yaml`` beside ``segments/``; YAML or JSON, segments SQL too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from headrace.errors import OperatorError, Place, Problem
from headrace.rules.catalog import Catalog
from headrace.rules.checks import RETENTION, check_catalog, check_segment
from headrace.rules.documents import read_catalog, read_segment
from headrace.rules.meaning.check import check_meaning
from headrace.rules.model import Segment
from headrace.rules.references import check_references
from headrace.rules.rule_tests import check_rule_test, read_rule_test
from headrace.rules.source import Places, Rules, RuleTest, RuleTestText, SegmentText

SUFFIXES = (".yaml", ".yml", ".json")
SQL = ".sql"


def load_rules(path: str | Path, *, retention: int = RETENTION) -> Rules:
    """Catalog and segments under ``path``, checked; every problem is in ``problems``.

    OperatorError when there is no such folder. With a broken catalog the names and types in
    segments are not checked: each finding would only repeat the catalog's.
    """
    root = Path(path)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise OperatorError(f"the rules folder {path} {what}", code="HR902")
    problems: list[Problem] = []
    catalog, catalog_file = _catalog(root, problems, retention)
    is_known = not any(problem.severity == "error" for problem in problems)
    segments: dict[str, Segment] = {}
    places: dict[str, Places] = {}
    for file in _segment_files(root):
        text = read_file(file, problems)
        if text is None:
            continue
        read = read_rule(text, str(file))
        problems += read.problems
        if read.segment is None:
            continue
        if is_known:
            problems += check_segment(read.segment, catalog, read.places, retention=retention)
        name = read.segment.id
        if name in segments:
            hint = f"first in {places[name].of(('id',))}"
            place = read.places.of(("id",))
            problems.append(Problem("HR301", f"duplicate segment id {name!r}", place, hint))
        elif name:
            segments[name] = read.segment
            places[name] = read.places
    problems += check_references(segments.values(), places)
    if not segments and not problems:
        message = f"no segment under {root / 'segments'}"
        problems.append(Problem("HR304", message, Place(catalog_file), severity="warning"))
    ordered = sorted(segments.values(), key=lambda segment: segment.id)
    tests = _rule_tests(root, catalog, segments, problems) if is_known else ()
    found = Rules(catalog, tuple(ordered), tuple(problems), places, tests)
    return found if found.errors else replace(found, problems=(*problems, *check_meaning(found)))


def read_rule(text: str, file: str) -> SegmentText:
    """The segment in ``text``, in the spelling that the name of ``file`` tells."""
    if not file.endswith(SQL):
        return read_segment(text, file)
    # The parser takes a quarter of a second to import: folders without SQL do without it.
    from headrace.rules.sql import read_sql

    return read_sql(text, file)


def catalog_near(file: Path) -> Catalog:
    """The catalog of the folder that ``file``, a segment, lies in; an empty one if it is broken."""
    above = file.absolute().parents
    root = next((folder.parent for folder in above if folder.name == "segments"), above[0])
    problems: list[Problem] = []
    catalog, _ = _catalog(root, problems, RETENTION)
    return Catalog() if any(one.severity == "error" for one in problems) else catalog


def _catalog(root: Path, problems: list[Problem], retention: int) -> tuple[Catalog, str]:
    for suffix in SUFFIXES:
        file = root / f"catalog{suffix}"
        if file.is_file():
            text = read_file(file, problems)
            if text is None:
                return Catalog(), str(file)
            read = read_catalog(text, str(file))
            problems += read.problems or check_catalog(
                read.catalog, read.places, retention=retention
            )
            return read.catalog, str(file)
    file = root / "catalog.yaml"
    problems.append(Problem("HR100", "there is no catalog", Place(str(file))))
    return Catalog(), str(file)


def _segment_files(root: Path) -> list[Path]:
    found = (root / "segments").rglob("*")
    return sorted(file for file in found if file.suffix in (*SUFFIXES, SQL) and file.is_file())


def _rule_tests(
    root: Path, catalog: Catalog, segments: Mapping[str, Segment], problems: list[Problem]
) -> tuple[RuleTest, ...]:
    tests = []
    for file in sorted((root / "tests").rglob("*")):
        text = read_file(file, problems) if file.suffix in SUFFIXES and file.is_file() else None
        read = read_rule_test(text, str(file)) if text is not None else RuleTestText(None)
        problems += read.problems
        if read.test is not None:
            problems += check_rule_test(read.test, catalog, segments)
            problems += _of_statements(read.test, segments)
            tests.append(read.test)
    return tuple(tests)


def _of_statements(test: RuleTest, segments: Mapping[str, Segment]) -> Iterator[Problem]:
    """Tests of what no test can play."""
    for number, trial in enumerate(test.trials):
        for index, expected in enumerate(trial.expect):
            if expected.segment in segments and segments[expected.segment].sql:
                message = f"a test of {expected.segment!r}, which is SQL in batch"
                place = test.places.of(("tests", number, index))
                hint = "try it on a file: headrace evaluate --engine spark"
                yield Problem("HR419", message, place, hint)


def read_file(file: Path, problems: list[Problem]) -> str | None:
    """What ``file`` says; None with a problem when it cannot be read, or is not UTF-8."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        problems.append(Problem("HR100", message, Place(str(file))))
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.append(Problem("HR100", "not UTF-8", Place(str(file), line)))
        return None
