"""What a caller is not shown of a person: the fields that the catalog says identify one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from headrace.serving.ports import Personal
from headrace.serving.problems import Problem

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Mask:
    """Takes away what is ``personal``; everything, while nobody can say what is."""

    personal: Personal | None
    is_off: bool = False

    def traits(self, values: Mapping[str, Value]) -> tuple[dict[str, Value], list[str]]:
        """Those that may be shown, and the names of the others."""
        return self._parted(values, None if self.personal is None else self.personal.traits)

    def facts(self, kind: str, values: Mapping[str, Value]) -> tuple[dict[str, Value], list[str]]:
        """The same of the properties of an event, or the traits that one of type traits states."""
        if self.personal is None or kind == "traits":
            return self.traits(values)
        return self._parted(values, self.personal.properties.get(kind, frozenset()))

    def measures(self, values: Mapping[str, Value]) -> tuple[dict[str, Value], list[str]]:
        """The same of measures, or computed traits, by name."""
        if self.is_off:
            return dict(values), []
        harmless = frozenset[str]() if self.personal is None else self.personal.harmless
        masked = sorted(values.keys() - harmless)
        return {name: of for name, of in values.items() if name in harmless}, masked

    def require(self, traits: Iterable[str]) -> None:
        """Problem 403 where one of ``traits`` is taken away: it may not be asked for by value."""
        for trait in traits:
            if self.personal is None or trait in self.personal.traits:
                detail = f"{trait!r} identifies a person: this may not ask it"
                raise Problem(403, "not-allowed", detail)

    @staticmethod
    def _parted(
        values: Mapping[str, Value], hidden: frozenset[str] | None
    ) -> tuple[dict[str, Value], list[str]]:
        masked = [name for name in values if hidden is None or name in hidden]
        return {name: of for name, of in values.items() if name not in masked}, sorted(masked)


NO_MASK = Mask(Personal(), is_off=True)
