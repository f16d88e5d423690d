"""``headrace test``: the examples beside rules and in files of tests, without any server."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli.invocation import invoked
from headrace.cli.sound import sound_rules, write
from headrace.clock import format_instant
from headrace.errors import OperatorError
from headrace.rules.leaves import as_json, as_text
from headrace.rules.rehearsal import Failure, Outcome, rehearse


class Report(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("test")(rehearse_all)


def rehearse_all(
    context: typer.Context,
    rules: Annotated[
        Path, typer.Argument(metavar="RULES", help="A folder with catalog.yaml and segments/.")
    ] = Path("rules"),
    select: Annotated[
        str | None,
        typer.Option(metavar="GLOB", help="Only tests of these segments, or of that name."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results there, as JUnit XML.")
    ] = None,
    output: Annotated[Report, typer.Option(help="How to print.")] = Report.TEXT,
) -> None:
    """Run the examples beside the rules and under tests/; exit 1 when one does not hold."""
    found = sound_rules(rules)
    outcomes = rehearse(found, select or "*")
    if select and not outcomes:
        raise OperatorError(f"no test or segment is named {select!r}", code="HR904")
    if junit is not None:
        _write_junit(junit, outcomes)
    failed = [one for one in outcomes if one.failure is not None]
    if output is Report.JSON:
        invoked(context).print_json([_as_json(one) for one in outcomes])
    else:
        for one in failed:
            write("".join(f"{line}\n" for line in (str(one), *_reasons(one))))
        write(f"{len(outcomes) - len(failed)} of {len(outcomes)} expectations hold\n")
    if failed:
        raise typer.Exit(1)


def _reasons(outcome: Outcome) -> Iterator[str]:
    """What was found, leaf by leaf, and what time alone will do."""
    failure = outcome.failure
    if failure is None or failure.explanation is None:
        return
    for leaf in failure.explanation.leaves:
        yield f"  {as_text(leaf)}"
    yield f"  {_what_time_does(failure)}"


def _what_time_does(failure: Failure) -> str:
    if failure.turns is None:
        return "time alone never changes that"
    return f"time alone changes that at {format_instant(failure.turns)}"


def _as_json(outcome: Outcome) -> dict[str, Any]:
    expected, failure = outcome.expected, outcome.failure
    told: dict[str, Any] = {
        "segment": outcome.segment,
        "test": outcome.trial,
        "user": expected.user,
        "at": format_instant(expected.at),
        "expected": expected.member,
        "holds": failure is None,
        "file": outcome.place.file,
        "line": outcome.place.line,
        "column": outcome.place.column,
    }
    if failure is not None:
        leaves = failure.explanation.leaves if failure.explanation else ()
        told["message"] = failure.message
        told["conditions"] = [as_json(leaf) for leaf in leaves]
        told["changes_at"] = format_instant(failure.turns) if failure.turns is not None else None
    return told


def _write_junit(file: Path, outcomes: Sequence[Outcome]) -> None:
    """One suite a file, one case an expectation."""
    suites: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        suites[one.place.file].append(one)
    root = ET.Element("testsuites", _counted(outcomes))
    for name, members in suites.items():
        suite = ET.SubElement(root, "testsuite", {"name": name, **_counted(members)})
        for one in members:
            when = format_instant(one.expected.at)
            case = ET.SubElement(
                suite,
                "testcase",
                classname=one.segment,
                name=_clean(f"{one.trial}: {one.expected.user} at {when}"),
                file=one.place.file,
                line=str(one.place.line),
                time="0",
            )
            if one.failure is not None:
                message = _clean(one.failure.message)
                failure = ET.SubElement(case, "failure", message=message, type="expectation")
                failure.text = _clean("\n".join((str(one), *_reasons(one))))
    ET.indent(root)
    try:
        ET.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        message = f"cannot write {file}: {error.strerror or error}"
        raise OperatorError(message, code="HR903") from error


def _counted(outcomes: Sequence[Outcome]) -> dict[str, str]:
    failures = sum(one.failure is not None for one in outcomes)
    return {"tests": str(len(outcomes)), "failures": str(failures), "errors": "0", "time": "0"}


def _clean(text: str) -> str:
    """XML has no words for most control characters."""
    return "".join(c if c >= " " or c in "\n\t" else "?" for c in text)
