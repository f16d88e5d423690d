"""A plan for people: golden files, `headrace plan` and the UI print this text."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.clock import format_instant
from headrace.plan.lines import PRESENT
from headrace.plan.model import (
    Line,
    MeasureTest,
    Plan,
    Predicate,
    SampleTest,
    Slot,
    TraitTest,
    Tree,
    ValueTest,
)
from headrace.plan.text import SYMBOLS, constant_text, filter_text, span_text, window_text
from headrace.plan.usage import Parts, Usage, leaves
from headrace.rules.catalog import LIST
from headrace.rules.model import Span

NAMES = 4
"""Segments that are named where more of them use a part."""


def explain(plan: Plan) -> str:
    """Every base, window, predicate and segment of ``plan``, each with who uses it.

    Beside a segment stands what only it needs: its cost when the others are there anyway.
    """
    usage = Usage.of(plan)
    parts = (_summary(plan), _events(plan, usage), _tests(plan, usage), _segments(plan, usage))
    return "".join(f"{line}\n" for part in parts for line in part)


def _summary(plan: Plan) -> Iterator[str]:
    conditions = sum(1 for program in plan.programs for _ in leaves(program.tree))
    topics = (*plan.sources, *(stream.topic for stream in plan.streams))
    yield f"reads   {', '.join(topics)}"
    yield f"writes  {', '.join(plan.outputs)}"
    yield (
        f"shares  {_many(len(plan.programs), 'segment')} with {_many(conditions, 'condition')} = "
        f"{_many(len(plan.predicates), 'predicate')}, {_many(len(plan.measures), 'measure')}, "
        f"{_many(len(plan.slots), 'slot')}, {_many(len(plan.bases), 'base')}"
    )
    job = plan.job
    yield (
        f"runs    every {_length(job.trigger_ms)}, {_many(job.partitions, 'partition')}, "
        f"{_many(job.buckets, 'bucket')}, {job.driver_memory}; repeats within "
        f"{_length(job.horizon_ms)} do not count"
    )


def _events(plan: Plan, usage: Usage) -> Iterator[str]:
    used = usage.users("slots")
    if plan.bases:
        yield "\nfolds"
    for place, base in enumerate(plan.bases):
        where = "" if base.filter is None else f" where {filter_text(plan.filters[base.filter])}"
        of = f".{base.field} ({base.type})" if base.field else ""
        span = "" if base.start is None else span_text(Span(base.start, base.end))
        yield f"  {base.event}{of}{where}{span}"
        for number, slot in enumerate(plan.slots):
            if place in slot.bases:
                yield f"    {slot.accumulator} {_tiles(slot)}  [{_named(used.get(number, ()))}]"


def _tests(plan: Plan, usage: Usage) -> Iterator[str]:
    used = usage.users("predicates")
    if plan.predicates:
        yield "\ntests"
    for place, predicate in enumerate(plan.predicates):
        named = _named(used.get(place, ()))
        yield f"  p{place}  {predicate_text(plan, predicate)}  [{named}]"


def _segments(plan: Plan, usage: Usage) -> Iterator[str]:
    if plan.stays:
        yield "\nstays"
    for stay in plan.stays:
        leaving = "" if stay.exit is None else f", out when {tree_text(stay.exit)}"
        dwell = f", for {_length(stay.min_dwell)} at least" if stay.min_dwell else ""
        pause = f", not again for {_length(stay.cooldown)}" if stay.cooldown else ""
        name = plan.measures[stay.measure].name
        yield f"  {name}: in when {tree_text(stay.match)}{leaving}{dwell}{pause}"
    if plan.programs:
        yield "\nsegments"
    for program in plan.programs:
        yield f"  {program.segment} v{program.version} = {tree_text(program.tree)}"
        yield f"    adds {_cost(usage.alone(program.segment))}"


def _cost(alone: Parts) -> str:
    """What a rule adds to the events folded, the state kept and the work of a batch."""
    kinds = (("slot", alone.slots), ("measure", alone.measures), ("predicate", alone.predicates))
    some = [_many(len(places), kind) for kind, places in kinds if places]
    return ", ".join(some) or "nothing: all of it is there for others"


def _named(segments: tuple[str, ...]) -> str:
    """A few of the names, and how many more."""
    if not segments:
        return "no segment"
    names = ", ".join(segments[:NAMES])
    return names if len(segments) <= NAMES else f"{names} and {len(segments) - NAMES:,} more"


def tree_text(tree: Tree) -> str:
    """``p0 and not (p1 or p2)``."""
    if isinstance(tree, int):
        return f"p{tree}"
    if tree.kind == "not":
        return f"not {tree_text(tree.parts[0])}"
    if not tree.parts:
        return "always" if tree.kind == "all" else "never"
    word = " and " if tree.kind == "all" else " or "
    return f"({word.join(tree_text(part) for part in tree.parts)})"


def predicate_text(plan: Plan, predicate: Predicate) -> str:
    """``sum(purchase.amount) within 30d >= 1000.0001``."""
    match predicate:
        case MeasureTest(measure, cuts):
            of = plan.measures[measure]
            if (
                of.test is not None or of.links or of.function == "stay"
            ):  # they say all by their names
                return of.name
            name = f"age of {of.name}" if of.line == "age" else of.name
            return f"{name} {cuts_text(cuts, of.line)}"
        case TraitTest(trait, line, cuts):
            name = f"age of trait {trait}" if line == "age" else f"trait {trait}"
            return f"{name} {cuts_text(cuts, line)}"
        case ValueTest(trait) if trait.startswith(LIST):
            return f"on the list {trait.removeprefix(LIST)}"
        case ValueTest(trait, _, "exists", _):
            return f"trait {trait} exists"
        case SampleTest(salt, below):
            return f"in the sample of {below / 100:g} %" + (f" by {salt}" if salt else "")
        case ValueTest(trait, _, operator, value):
            return f"trait {trait} {SYMBOLS.get(operator, operator)} {constant_text(value)}"


def cuts_text(cuts: tuple[int, ...], line: Line) -> str:
    """The intervals that cuts enclose, as comparisons."""
    if not cuts:
        return "is never so"
    ends = [*cuts, *([None] if len(cuts) % 2 else [])]
    pairs = zip(ends[::2], ends[1::2], strict=True)
    return " or ".join(_interval(low, high, line) for low, high in pairs)


def _interval(low: int | None, high: int | None, line: Line) -> str:
    assert low is not None
    if low <= PRESENT:
        return "exists" if high is None else _below(high, line)
    if high is None:
        return _above(low, line)
    if high == low + 1 and not (line == "average" and low % 2):
        return f"= {_number(low, line)}"
    return f"in [{_number(low, line)}, {_number(high, line)})"


def _above(low: int, line: Line) -> str:
    if _is_just_above(low, line):
        return f"> {_number(low - 1, line)}"
    return f">= {_number(low, line)}"


def _below(high: int, line: Line) -> str:
    if _is_just_above(high, line):
        return f"<= {_number(high - 1, line)}"
    return f"< {_number(high, line)}"


def _is_just_above(value: int, line: Line) -> bool:
    """Is the number before the one that people would write?"""
    return (line == "average" and value % 2 == 1) or (line == "age" and value % 1_000 == 1)


def _number(value: int, line: Line) -> str:
    match line:
        case "integer":
            return str(value)
        case "decimal":
            return _places(value)
        case "average":
            # Odd integers stand for what lies strictly between two numbers of four places.
            return _places(value // 2) + (" and a bit" if value % 2 else "")
        case "instant":
            return format_instant(value) if 0 <= value < 253_402_300_800_000 else str(value)
        case "age":
            return ("-" if value < 0 else "") + _length(abs(value))


def _places(value: int) -> str:
    whole, rest = divmod(abs(value), 10_000)
    text = f"{whole}.{rest:04d}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text


def _tiles(slot: Slot) -> str:
    if not slot.hop:
        return "for ever"
    kept = f"kept {_length(slot.keep)}" if slot.keep else "for ever"
    return f"in tiles of {_length(slot.hop)} {kept}"


def _length(length: int) -> str:
    return window_text(length).removeprefix(" within ") or "0s"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
