"""Files of tests alone (``kind: RuleTest``): texts -> tests, and whether their names are known."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from headrace.errors import Problem
from headrace.rules.catalog import Catalog
from headrace.rules.checks import check_segment
from headrace.rules.documents import in_order
from headrace.rules.metadata import read_head
from headrace.rules.model import AllOf, Segment
from headrace.rules.nodes import Mapping, Node, read_node
from headrace.rules.reading import Reading
from headrace.rules.source import Places, RuleTest, RuleTestText, did_you_mean
from headrace.rules.trial_texts import read_trials
from headrace.rules.trials import Trial, TrialEvent

KIND = "RuleTest"


def read_rule_test(text: str, file: str = "<text>") -> RuleTestText:
    """The tests in ``text``. With problems, what could be read of them, for further checks."""
    reading = Reading(file)
    node = read_node(text, file, reading.problems)
    test = _rule_test(reading, node) if node is not None else None
    return RuleTestText(test, in_order(reading.problems))


def check_rule_test(
    test: RuleTest, catalog: Catalog, segments: Collection[str]
) -> tuple[Problem, ...]:
    """Names that the catalog or the folder lacks, and users that nothing happens to."""
    # The histories are read as those beside a rule are; who is on a list is known by that.
    trials = tuple(replace(trial, events=(*trial.events, *_listed(trial))) for trial in test.trials)
    beside = Segment(id=test.name, condition=AllOf(()), tests=trials)
    found = [*check_segment(beside, catalog, test.places), *_unknown(test, segments)]
    return in_order(found)


def _listed(trial: Trial) -> Iterator[TrialEvent]:
    for _, users in trial.lists:
        yield from (TrialEvent(user=user, ts=0, type="traits") for user in users)


def _unknown(test: RuleTest, segments: Collection[str]) -> Iterator[Problem]:
    told: set[str] = set()
    for number, trial in enumerate(test.trials):
        for index, expected in enumerate(trial.expect):
            name = expected.segment
            if name not in segments and name not in told:
                told.add(name)
                place = test.places.of(("tests", number, index))
                hint = did_you_mean(name, segments)
                yield Problem("HR308", f"a test of an unknown segment {name!r}", place, hint)


def _rule_test(reading: Reading, node: Node) -> RuleTest | None:
    document = read_head(reading, node, KIND, ("metadata", "segments", "tests"), "a file of tests")
    if document is None:
        return None
    tests = reading.required(document, "tests", "a file of tests")
    return RuleTest(
        _name(reading, document),
        read_trials(reading, tests, _about(reading, document)) if tests is not None else (),
        Places(reading.file, reading.places),
    )


def _name(reading: Reading, document: Mapping) -> str:
    metadata = reading.required(document, "metadata", "a file of tests")
    about = reading.mapping(metadata, "'metadata'") if metadata is not None else None
    if about is None:
        return ""
    reading.known_keys(about, ("name", "description"), "'metadata'")
    name = reading.required(about, "name", "'metadata'")
    return (reading.text(name, "'name'") or "") if name is not None else ""


def _about(reading: Reading, document: Mapping) -> tuple[str, ...]:
    node = document.get("segments")
    items = reading.sequence(node, "'segments'") if node is not None else None
    texts = [reading.text(item, "a segment") for item in (items.items if items else ())]
    return tuple(text for text in texts if text is not None)
