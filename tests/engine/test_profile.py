"""What is stored of a user says what each measure is, as the reference has it from the facts."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from random import Random
from typing import Any

from hypothesis import given

from headrace.engine.profile import measures_of
from headrace.rules.model import Compare, Measure, Segment, leaves
from headrace.rules.reference import explain_user
from properties import many
from strategies import CATALOG, Case, inlined
from streams import Stream, cut, facts_of, histories, instants, plan_of, randoms, touch


def measured_alone(case: Case) -> list[Segment]:
    """Each comparison of a number in the rules of ``case``, as a rule of its own."""
    found = {
        leaf: Segment(id=f"s{number}", condition=leaf)
        for segment in case.segments
        for number, leaf in enumerate(leaves(inlined(segment.condition, case.segments)))
        if isinstance(leaf, Compare) and isinstance(leaf.subject, Measure)
    }
    return list(found.values())


@many
@given(histories(), randoms())
def test_measures_of_stored_rows_are_those_of_the_facts(case: Case, random: Random) -> None:
    facts = facts_of(case.lines, CATALOG, case.at)
    users = sorted(set(facts["user_id"].to_pylist()))
    for segment in measured_alone(case):
        plan = plan_of([segment], CATALOG)
        measures = [one for one in plan.measures if one.test is None]
        if not measures:
            continue  # of a text only whether it passes is kept
        (measure,) = measures
        stream = Stream(plan)
        for batch, now in zip(cut(facts, 3, random), instants(case, 3, random), strict=True):
            stream.batch(batch, now)
        stream.batch(touch(users, case.at), case.at)
        found = measures_of(stream.rows, plan=plan, at=case.at)
        for user in users:
            told = explain_user(case.lines, [segment], CATALOG, case.at, user)
            assert told is not None
            value = told[0].leaves[0].value
            assert _same(found[user][measure.name], value, measure.function), (segment, user)


def _same(found: str | None, value: Any, function: str) -> bool:
    if found is None or value is None:
        return found is value
    number = Decimal(value)
    if function == "avg":  # shown to four places
        number = number.quantize(Decimal("0.0001"), ROUND_FLOOR)
    return Decimal(found) == number
