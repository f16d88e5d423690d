"""Rules against the catalog: names, types and constants. All problems, in one go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, assert_never

import re2

from headrace.clock import DAY, parse_instant
from headrace.errors import Problem, Severity
from headrace.rules.catalog import Catalog, Field, FieldType
from headrace.rules.durations import format_duration
from headrace.rules.model import (
    COUNTING,
    MOST_DISTINCT,
    Ago,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Function,
    InList,
    InSegment,
    Measure,
    Not,
    Operator,
    Property,
    Sample,
    Scalar,
    Segment,
    Sequence,
    Trait,
    Window,
    Within,
)
from headrace.rules.printer import print_number
from headrace.rules.references import check_references
from headrace.rules.source import Path, Places, Rules, did_you_mean

RETENTION: Final = 1_095 * DAY  # how long events are kept unless settings say otherwise
LONGEST_PATTERN: Final = 256

_EQUAL: Final = ("eq", "ne", "in", "not_in", "exists")
_ORDERED: Final = (*_EQUAL, "gt", "gte", "lt", "lte", "between")
OPERATORS_OF: Final[Mapping[FieldType, tuple[str, ...]]] = {
    "integer": _ORDERED,
    "decimal": _ORDERED,
    "string": (
        *_ORDERED, "contains", "not_contains", "starts_with", "ends_with", "matches",
    ),
    "timestamp": (*_ORDERED, "before", "after"),
    "boolean": ("eq", "ne", "exists"),
    "array<string>": ("contains", "not_contains", "contains_any", "contains_all", "exists"),
}  # fmt: skip

_VALUES: Final[tuple[FieldType, ...]] = ("string", "integer", "decimal", "boolean", "timestamp")
FIELDS_OF: Final[Mapping[Function, tuple[FieldType, ...]]] = {
    "count": (),
    "days_active": (),
    "sum": ("integer", "decimal"),
    "avg": ("integer", "decimal"),
    "min": ("integer", "decimal", "timestamp"),
    "max": ("integer", "decimal", "timestamp"),
    "distinct": _VALUES,
    "first": (*_VALUES, "array<string>"),
    "last": (*_VALUES, "array<string>"),
}

# What a value may reach, in its own unit; sums and counts stay below 10^18 units of storage.
_LIMIT: Final[Mapping[str, Decimal]] = {
    "integer": Decimal(1 << 53),
    "decimal": Decimal(10**11),
    "sum of integers": Decimal(10**18),
    "sum of decimals": Decimal(10**14),
    "distinct": Decimal(MOST_DISTINCT),
}


_REACHED: Final = ("integer", "distinct")  # values may be as large as these limits


def check(rules: Rules, *, retention: int = RETENTION) -> tuple[Problem, ...]:
    """Everything wrong with the segments of ``rules`` against its catalog."""
    problems: list[Problem] = []
    for segment in rules.segments:
        places = rules.places.get(segment.id, Places(segment.id))
        problems += check_segment(segment, rules.catalog, places, retention=retention)
    return (*problems, *check_references(rules.segments, rules.places))


def check_catalog(
    catalog: Catalog, places: Places, *, retention: int = RETENTION
) -> tuple[Problem, ...]:
    """Everything wrong with the computed traits of a catalog."""
    found = _Checks(catalog, places, retention).computed()
    return tuple(sorted(found, key=lambda problem: (problem.place, problem.code)))


def check_segment(
    segment: Segment, catalog: Catalog, places: Places, *, retention: int = RETENTION
) -> tuple[Problem, ...]:
    """Everything wrong with one segment, in the order of its text."""
    checks = _Checks(catalog, places, retention)
    found = [*checks.condition(segment.condition, ()), *checks.trials(segment)]
    if segment.stay is not None and segment.stay.exit_when is not None:
        found += checks.condition(segment.stay.exit_when, ("exit_when",))
    return tuple(sorted(found, key=lambda problem: (problem.place, problem.code)))


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a comparison looks at, in the words of a problem."""

    words: str
    type: FieldType
    limit: str = ""
    in_filter: bool = False


@dataclass(frozen=True, slots=True)
class _Checks:
    """The checks of one segment."""

    catalog: Catalog
    places: Places
    retention: int

    def problem(
        self, code: str, message: str, path: Path, hint: str = "", severity: Severity = "error"
    ) -> Problem:
        return Problem(code, message, self.places.of(path), hint, severity)

    def condition(
        self, condition: Condition, path: Path, event: str | None = None
    ) -> Iterator[Problem]:
        """Problems of ``condition``; inside a filter of ``event`` when that is given."""
        match condition:
            case AllOf(parts) | AnyOf(parts):
                for index, part in enumerate(parts):
                    yield from self.condition(part, (*path, index), event)
            case Not(part):
                yield from self.condition(part, (*path, 0), event)
            case InSegment() | InList() | Sample():
                pass  # names of segments are known when all are read: see `references`
            case Sequence(steps, window):
                for number, step in enumerate(steps):
                    yield from self._event(step.event, step.where, (*path, "steps", number))
                yield from self._window(window, path)
            case Compare(subject, operator, value):
                found: _Subject | Problem | None
                match subject:
                    case Trait(name):
                        found = self._trait(name, (*path, "trait"))
                    case Property(name):
                        found = self._property(name, event, (*path, "property"))
                    case Measure():
                        yield from self._event(subject.event, subject.where, path)
                        yield from self._window(subject.window, path)
                        found = self._measure(subject, path)
                    case _:
                        assert_never(subject)
                if isinstance(found, Problem):
                    yield found
                elif found is not None:
                    yield from self._comparison(found, operator, value, path)
            case _:
                assert_never(condition)

    def computed(self) -> Iterator[Problem]:
        """Problems of the catalog's computed traits."""
        for name, one in self.catalog.computed.items():
            path = ("traits", name)
            yield from self._event(one.measure.event, one.measure.where, path)
            yield from self._window(one.measure.window, path)
            found = self._measure(one.measure, path)
            if isinstance(found, Problem):
                yield found
            elif found is not None and found.type not in ("integer", "decimal", "timestamp"):
                message = f"{found.words} is {_a(found.type)}: only numbers and instants are kept"
                yield self.problem("HR204", message, (*path, "field"))

    def _trait(self, name: str, path: Path) -> _Subject | Problem | None:
        if name in self.catalog.computed:
            found = self._measure(self.catalog.computed[name].measure, path)
            # What is wrong with the measure itself, the catalog is told.
            words = f"computed trait {name!r}"
            return replace(found, words=words) if isinstance(found, _Subject) else None
        field = self.catalog.traits.get(name)
        if field is None:
            hint = did_you_mean(name, {**self.catalog.traits, **self.catalog.computed})
            return self.problem("HR202", f"unknown trait {name!r}", path, hint)
        return _Subject(f"trait {name!r}", field.type, limit=field.type)

    def _property(self, name: str, event: str | None, path: Path) -> _Subject | Problem | None:
        if event is None:
            return self.problem("HR203", f"property {name!r} outside a 'where'", path)
        field = self._field(event, name, path)
        if isinstance(field, Field):
            return _Subject(f"property {name!r}", field.type, limit=field.type, in_filter=True)
        return field

    def _field(self, event: str, name: str, path: Path) -> Field | Problem | None:
        """The catalogued property; None when the event itself is unknown."""
        known = self.catalog.events.get(event)
        if known is None:
            return None
        if name not in known.properties:
            hint = did_you_mean(name, known.properties)
            message = f"unknown property {name!r} of event {event!r}"
            return self.problem("HR203", message, path, hint)
        return known.properties[name]

    def _event(self, event: str, where: Condition | None, path: Path) -> Iterator[Problem]:
        """Problems of an event's name and filter."""
        if event not in self.catalog.events:
            hint = did_you_mean(event, self.catalog.events)
            yield self.problem("HR201", f"unknown event {event!r}", (*path, "event"), hint)
        if where is not None:
            yield from self.condition(where, (*path, "where"), event)

    def _window(self, window: Window, path: Path) -> Iterator[Problem]:
        if isinstance(window, Within) and window.length > self.retention:
            length, kept = map(format_duration, (window.length, self.retention))
            message = f"{length} is longer than events are kept ({kept})"
            yield self.problem("HR302", message, (*path, "window"), severity="warning")

    def _measure(self, measure: Measure, path: Path) -> _Subject | Problem | None:
        name, function = measure.field, measure.function
        if function in COUNTING or name is None:
            words = f"{function} of {measure.event!r}"
            return _Subject(words, "integer", limit="sum of integers")
        field = self._field(measure.event, name, (*path, "field"))
        if not isinstance(field, Field):
            return field
        if field.type not in FIELDS_OF[function]:
            message = (
                f"{function!r} does not fit property {name!r} of event {measure.event!r}, "
                f"which is {_a(field.type)}"
            )
            hint = f"{function} takes {' or '.join(FIELDS_OF[function])}"
            return self.problem("HR204", message, (*path, "field"), hint)
        words = f"{function} of {name!r}"
        if function == "distinct":
            return _Subject(words, "integer", limit=function)
        if function == "sum":
            return _Subject(words, field.type, limit=f"sum of {field.type}s")
        return _Subject(words, "decimal" if function == "avg" else field.type, limit=field.type)

    def _comparison(
        self, subject: _Subject, operator: Operator, value: object, path: Path
    ) -> Iterator[Problem]:
        if operator not in OPERATORS_OF[subject.type]:
            message = f"{operator!r} does not fit {subject.words}, which is {_a(subject.type)}"
            hint = _instead(operator, subject.type)
            yield self.problem("HR205", message, (*path, "operator"), hint)
            return
        if operator == "exists":
            return
        constants = value if isinstance(value, tuple) else (value,)
        misfits = []
        for index, constant in enumerate(constants):
            at = (*path, "value", index) if isinstance(value, tuple) else (*path, "value")
            misfits += self._constant(subject, constant, at)
        yield from misfits
        if operator == "matches" and isinstance(value, str):
            yield from self._pattern(value, (*path, "value"))
        if not misfits:
            yield from self._verdict(subject, operator, constants, path)

    def _constant(self, subject: _Subject, constant: Scalar, path: Path) -> list[Problem]:
        written = _written(constant)
        wrong = f"{subject.words} is {_a(subject.type)}, {written} is not"
        if isinstance(constant, Ago):
            if not subject.in_filter:
                return []
            message = "a filter looks at one event at a time, without a now"
            hint = "use within: for a window that moves, or a plain instant"
            return [self.problem("HR209", message, path, hint)]
        match subject.type:
            case "string" | "array<string>":
                if isinstance(constant, str):
                    return []
                text = f'"{written}"' if isinstance(constant, Decimal | bool) else ""
                wrong = f"{subject.words} is compared with texts, {written} is not one"
                return [self.problem("HR206", wrong, path, f"write {text} in quotes")]
            case "boolean":
                if isinstance(constant, bool):
                    return []
                return [self.problem("HR206", wrong, path, "write true or false")]
            case "integer" | "decimal":
                if isinstance(constant, Decimal):
                    return self._number(subject, constant, path)
                hint = "write it without quotes" if _is_number(constant) else ""
                return [self.problem("HR206", wrong, path, hint)]
            case "timestamp":
                if _is_instant(constant):
                    return []
                hint = "an instant is like 2026-01-31 or 2026-01-31T09:00:00Z"
                if str(constant)[:1] in "+-":
                    hint = f"lengths of time go with before: and after:, as in after: {constant}"
                return [self.problem("HR206", wrong, path, hint)]
            case _:
                assert_never(subject.type)

    def _number(self, subject: _Subject, constant: Decimal, path: Path) -> list[Problem]:
        limit = _LIMIT[subject.limit]
        if abs(constant) > limit or (abs(constant) == limit and subject.limit not in _REACHED):
            message = f"{subject.words} never reaches {_written(constant)}"
            hint = f"values stay within {print_number(limit)}"
            return [self.problem("HR207", message, path, hint)]
        places = -int(constant.normalize().as_tuple().exponent)
        if subject.type == "decimal" and places > 4:
            message = f"{_written(constant)} has {places} decimal places, four are compared"
            return [self.problem("HR210", message, path, severity="warning")]
        return []

    def _pattern(self, pattern: str, path: Path) -> Iterator[Problem]:
        if len(pattern) > LONGEST_PATTERN:
            message = f"a pattern of {len(pattern)} characters, {LONGEST_PATTERN} are allowed"
            yield self.problem("HR208", message, path)
            return
        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(pattern, options)
        except re2.error as error:
            reason = error.args[0] if error.args else ""
            reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
            message = f"{pattern!r} is not a pattern of RE2: {reason}"
            yield self.problem("HR208", message, path)

    def _verdict(
        self,
        subject: _Subject,
        operator: Operator,
        constants: tuple[Scalar, ...],
        path: Path,
    ) -> Iterator[Problem]:
        """Comparisons that say the same about everybody."""
        numbers = [constant for constant in constants if isinstance(constant, Decimal)]
        if operator == "between" and len(numbers) == 2 and numbers[0] > numbers[1]:
            low, high = map(_written, numbers)
            message = f"nothing is between {low} and {high}: the first is greater"
            at = (*path, "value")
            hint = f"did you mean [{high}, {low}]?"
            yield self.problem("HR303", message, at, hint, severity="warning")
        elif subject.words.startswith("count of"):
            whole = {0, *(int(n) + step for n in numbers for step in (-1, 0, 1))}
            held = {_holds(n, operator, numbers) for n in whole if n >= 0}
            if len(held) == 1:
                always = "always" if held == {True} else "never"
                message = f"this {always} holds: a count is 0, 1, 2, .."
                yield self.problem("HR303", message, (*path, "value"), severity="warning")

    def trials(self, segment: Segment) -> Iterator[Problem]:
        """Names in the tests, and users that nothing happens to."""
        for number, trial in enumerate(segment.tests):
            users = {event.user for event in trial.events}
            for index, event in enumerate(trial.events):
                users |= {str(value) for key, value in event.fields if event.type == "alias"}
                at: Path = ("tests", number, "event", index)
                yield from self._trial_names(event.type, event.fields, at)
            for index, expected in enumerate(trial.expect):
                if expected.user not in users:
                    message = f"test {trial.name!r}: nothing happens to user {expected.user!r}"
                    at = ("tests", number, index)
                    hint = did_you_mean(expected.user, users)
                    yield self.problem("HR305", message, at, hint, severity="warning")

    def _trial_names(
        self, kind: str, fields: tuple[tuple[str, object], ...], path: Path
    ) -> Iterator[Problem]:
        if kind in ("alias", "delete"):
            return
        if kind == "traits":
            for name, _ in fields:
                found = self._trait(name, path)
                if isinstance(found, Problem):
                    yield found
                elif name in self.catalog.computed:
                    message = f"{name!r} is computed from events: no fact sets it"
                    yield self.problem("HR211", message, path)
            return
        if kind not in self.catalog.events:
            hint = did_you_mean(kind, (*self.catalog.events, "traits", "alias", "delete"))
            yield self.problem("HR201", f"unknown event {kind!r}", path, hint)
        for name, _ in fields:
            field = self._field(kind, name, path)
            if isinstance(field, Problem):
                yield field


def _holds(number: int, operator: Operator, constants: list[Decimal]) -> bool:
    first = constants[0]
    match operator:
        case "gt":
            return number > first
        case "gte":
            return number >= first
        case "lt":
            return number < first
        case "lte":
            return number <= first
        case "between":
            return first <= number <= constants[1]
        case "ne" | "not_in":
            return number not in constants
        case _:
            return number in constants


def _a(kind: FieldType) -> str:
    article = "an" if kind[0] in "ai" else "a"
    return f"{article} {kind}"


def _written(constant: Scalar) -> str:
    match constant:
        case bool():
            return "true" if constant else "false"
        case Decimal():
            return print_number(constant)
        case _:
            return repr(constant)


def _is_number(constant: object) -> bool:
    try:
        return isinstance(constant, str) and Decimal(constant).is_finite()
    except ArithmeticError:
        return False


def _is_instant(constant: Scalar) -> bool:
    if isinstance(constant, Decimal):
        return constant % 1 == 0 and abs(constant) <= 1 << 53
    try:
        return isinstance(constant, str) and parse_instant(constant) is not None
    except (ValueError, OverflowError):
        return False


def _instead(operator: Operator, kind: FieldType) -> str:
    """What people mean when they write ``operator`` about a ``kind``."""
    nearest = {
        ("array<string>", "eq"): "contains",
        ("array<string>", "in"): "contains_any",
        ("array<string>", "ne"): "not_contains",
        ("array<string>", "not_in"): "not: {.. contains_any: ..}",
        ("string", "contains_any"): "in",
        ("string", "before"): "lt",
        ("string", "after"): "gt",
        ("integer", "before"): "lt",
        ("integer", "after"): "gt",
        ("decimal", "before"): "lt",
        ("decimal", "after"): "gt",
        ("boolean", "in"): "eq",
    }.get((kind, operator))
    return f"did you mean {nearest!r}?" if nearest else f"use {', '.join(OPERATORS_OF[kind])}"
