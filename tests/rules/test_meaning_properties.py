"""Whatever is claimed about rules is true of every history; and much is claimed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import Place
from headrace.rules.catalog import Catalog
from headrace.rules.meaning.check import check_meaning
from headrace.rules.meaning.links import Link
from headrace.rules.meaning.reasoning import Reasoning
from headrace.rules.model import AllOf, AnyOf, Compare, Condition, Measure, Not, Segment, Sequence
from headrace.rules.reference import explain_user, reference_members
from headrace.rules.source import Path, Places, Rules
from properties import looking
from related import CATALOG as FEW
from related import pair, related_case, related_lines
from strategies import AT, CATALOG, Case, cases

EVERYBODY = Segment(id="everybody", condition=AllOf(()))


def claims(case: Case, catalog: Catalog) -> Counter[str]:
    """How much is claimed about the rules of ``case``; every claim is held against its history."""
    members = reference_members(case.lines, [*case.segments, EVERYBODY], catalog, case.at)
    known = {user for name, user in members if name == EVERYBODY.id}
    within = {one.id: {u for name, u in members if name == one.id} for one in case.segments}
    reasoning = Reasoning(catalog, {one.id: one for one in case.segments})
    found: Counter[str] = Counter(rules=len(case.segments))
    for one in case.segments:
        if reasoning.is_impossible([(one.condition, True)]):
            found["never"] += 1
            assert not within[one.id]
        if reasoning.is_impossible([(one.condition, False)]):
            found["always"] += 1
            assert within[one.id] == known
        for other in case.segments:
            if one is not other and reasoning.implies(one.condition, other.condition):
                found["implies"] += 1
                assert within[one.id] <= within[other.id]
    warnings(case, catalog, within, found)
    return found


def warnings(
    case: Case, catalog: Catalog, within: Mapping[str, set[str]], found: Counter[str]
) -> None:
    """The same of what authors are told: duplicates, parts of others, parts that add nothing."""
    paths = {one.id: list(_paths(one.condition)) for one in case.segments}
    places = {
        id: Places(id, {path: Place(id, line) for line, path in enumerate(of, 1)})
        for id, of in paths.items()
    }
    useless: dict[str, list[Path]] = defaultdict(list)
    for problem in check_meaning(Rules(catalog, case.segments, (), places)):
        found[problem.code] += 1
        one = problem.place.file
        for other in (id for id in within if id != one and f"'{id}'" in problem.message):
            if problem.code == "HR314":
                assert within[one] == within[other]
            if problem.code == "HR315":
                assert within[one] <= within[other]
        if problem.code == "HR312":
            useless[one].append(paths[one][problem.place.line - 1])
    if useless:
        shorter = [
            replace(one, condition=_without(one.condition, useless[one.id]))
            for one in case.segments
        ]
        members = reference_members(case.lines, shorter, catalog, case.at)
        assert {(id, user) for id, users in within.items() for user in users} == set(members)


def _paths(condition: Condition, path: Path = ()) -> Iterator[Path]:
    yield path
    match condition:
        case AllOf(parts) | AnyOf(parts):
            for index, part in enumerate(parts):
                yield from _paths(part, (*path, index))
        case Not(part):
            yield from _paths(part, (*path, 0))
        case Compare(Measure(where=where)) if where is not None:
            yield from _paths(where, (*path, "where"))
        case Sequence(steps):
            for number, step in enumerate(steps):
                if step.where is not None:
                    yield from _paths(step.where, (*path, "steps", number, "where"))


def _without(condition: Condition, gone: list[Path], path: Path = ()) -> Condition:
    match condition:
        case AllOf(parts) | AnyOf(parts):
            left = [
                _without(part, gone, (*path, index))
                for index, part in enumerate(parts)
                if not _is_gone(part, (*path, index), gone)
            ]
            return type(condition)(tuple(left))
        case Not(part):
            return Not(_without(part, gone, (*path, 0)))
        case Compare(Measure(where=where) as measure) if where is not None:
            where = _without(where, gone, (*path, "where"))
            return replace(condition, subject=replace(measure, where=where))
        case Sequence(steps):
            kept = tuple(
                step
                if step.where is None
                else replace(step, where=_without(step.where, gone, (*path, "steps", n, "where")))
                for n, step in enumerate(steps)
            )
            return replace(condition, steps=kept)
        case _:
            return condition


def _is_gone(part: Condition, path: Path, gone: list[Path]) -> bool:
    """A part goes with the nots around it."""
    if path in gone:
        return True
    return isinstance(part, Not) and _is_gone(part.part, (*path, 0), gone)


@looking(40)
@given(cases())
def test_claims_about_any_rules_hold(case: Case) -> None:
    claims(case, CATALOG)


@looking(100)
@given(st.integers(0, 1 << 40))
def test_claims_about_related_rules_hold(seed: int) -> None:
    random = Random(seed)
    case = related_case(random)
    if claims(case, FEW).total() > len(case.segments):  # something is claimed: look again
        for _ in range(6):
            claims(replace(case, lines=related_lines(random, case.segments)), FEW)


@looking(500)
@given(st.integers(0, 1 << 40))
def test_what_one_measure_says_of_another_holds(seed: int) -> None:
    random = Random(seed)
    rule = Segment(id="s", condition=pair(random))
    measures = [leaf.subject for leaf in _compares(rule.condition)]
    reasoning = Reasoning(FEW)
    leaves = [Compare(measure, "exists", True) for measure in measures]
    one, other = (reasoning.read(leaf)[0] for leaf in leaves)  # type: ignore[index]
    found = reasoning.links(one, other)
    shown = [Segment(id=f"m{place}", condition=leaf) for place, leaf in enumerate(leaves)]
    for _ in range(10 if found else 0):
        lines = related_lines(random, [rule], most_events=6)
        for user in ("u1", "u2"):
            told = explain_user(lines, shown, FEW, AT, user)
            if told is not None:
                narrow, wide = (explained.leaves[0].value for explained in told)
                assert all(_is_true(link, narrow, wide) for link in found), (narrow, wide, found)


def _compares(condition: Condition) -> Iterator[Compare]:
    match condition:
        case AllOf(parts):
            for part in parts:
                yield from _compares(part)
        case Not(part):
            yield from _compares(part)
        case Compare():
            yield condition


def _is_true(link: Link, narrow: Any, wide: Any) -> bool:
    if link.kind == "some":
        return _is_something(link.wide.of, wide) or not _is_something(link.narrow.of, narrow)
    if narrow is None or wide is None:
        return True
    return bool(narrow <= wide if link.kind == "at most" else narrow >= wide)


def _is_something(measure: Any, value: Any) -> bool:
    counts = measure.function in ("count", "days_active", "distinct", "sum")
    return value != 0 if counts else value is not None


def test_much_is_claimed() -> None:
    found: Counter[str] = Counter()
    for seed in range(800):
        found += claims(related_case(Random(seed), size=3), FEW)
    assert found["never"] >= 150 and found["always"] >= 60 and found["implies"] >= 200, found
    for code in ("HR310", "HR311", "HR312"):
        assert found[code] >= 200, found
    assert found["HR314"] >= 5 and found["HR315"] >= 20, found
