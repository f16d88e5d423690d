"""The oracle's people: facts -> one person per canonical user, repeats and the forgotten gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.rules.reference_facts import Fact, canonical


@dataclass(slots=True)
class Person:
    """What one user is and did."""

    id: str
    facts: list[Fact] = field(default_factory=list)
    traits: dict[str, Any] = field(default_factory=dict)
    events: dict[str, list[Fact]] = field(default_factory=lambda: defaultdict(list))

    @staticmethod
    def of(user: str, facts: Iterable[Fact]) -> Person:
        """The person whom ``facts`` make."""
        person = Person(user, list(facts))
        latest: dict[str, tuple[int, bytes]] = {}
        for fact in person.facts:
            if fact.type != "traits":
                person.events[fact.type].append(fact)
                continue
            for name, value in fact.values.items():
                rank = (fact.ts, canonical(fact.sent[name]))
                if rank > latest.get(name, (-1, b"")):
                    latest[name] = rank
                    person.traits[name] = value
        return person

    def at(self, instant: int) -> Person:
        """The person as known then."""
        return Person.of(self.id, [fact for fact in self.facts if fact.ts <= instant])


@dataclass(frozen=True, slots=True)
class People:
    """Everyone known, under the canonical id, and which id each joined id goes by."""

    known: Mapping[str, Person]
    names: Mapping[str, str]

    def of(self, user: str) -> Person | None:
        """The person that any of its ids names."""
        return self.known.get(self.names.get(user, user))


def people(facts: Iterable[Fact]) -> People:
    """The people that ``facts`` are about."""
    kept = _without_repeats(facts)
    forgotten, links = _deletions(kept)
    names = _canonical_ids(links)
    known: dict[str, list[Fact]] = defaultdict(list)
    for fact in kept:
        if fact.type not in ("alias", "delete") and fact.ts > forgotten.get(fact.user, -1):
            known[names.get(fact.user, fact.user)].append(fact)
    return People({user: Person.of(user, of) for user, of in known.items()}, names)


def _without_repeats(facts: Iterable[Fact]) -> list[Fact]:
    """Of facts with one (user id as sent, event_id), the smallest by (ts, canonical JSON)."""
    kept: list[Fact] = []
    first: dict[tuple[str, str], Fact] = {}
    for fact in facts:
        if fact.type == "alias" or fact.event_id is None:
            kept.append(fact)
            continue
        key = (fact.user, fact.event_id)
        other = first.setdefault(key, fact)
        if other is not fact and _rank(fact) < _rank(other):
            first[key] = fact
    return kept + list(first.values())


def _rank(fact: Fact) -> tuple[int, bytes, str]:
    return fact.ts, canonical(fact.sent), fact.type


def _deletions(facts: Iterable[Fact]) -> tuple[dict[str, int], list[Fact]]:
    """Until when each id is forgotten, and the aliases that no deletion took along."""
    facts = list(facts)
    alive = {index: fact for index, fact in enumerate(facts) if fact.type == "alias"}
    touching: dict[str, list[int]] = defaultdict(list)
    for index, link in alive.items():
        for user in _ends(link):
            touching[user].append(index)
    forgotten: dict[str, int] = {}
    for deletion in sorted((f for f in facts if f.type == "delete"), key=lambda f: f.ts):
        waiting = [deletion.user]
        while waiting:
            user = waiting.pop()
            forgotten[user] = deletion.ts  # deletions come in the order of time
            for index in touching[user]:
                if index in alive and alive[index].ts <= deletion.ts:
                    waiting += _ends(alive.pop(index))
    return forgotten, list(alive.values())


def _canonical_ids(links: list[Fact]) -> dict[str, str]:
    """Each joined id -> the smallest one that never stands as ``from``, else the smallest."""
    sources = {link.values["from"] for link in links}
    neighbours: dict[str, list[str]] = defaultdict(list)
    for link in links:
        source, target = _ends(link)
        neighbours[source].append(target)
        neighbours[target].append(source)
    names: dict[str, str] = {}
    for start in neighbours:
        group: set[str] = set()
        waiting = [] if start in names else [start]
        while waiting:
            user = waiting.pop()
            if user not in group:
                group.add(user)
                waiting += neighbours[user]
        name = min(group - sources or group, default="")
        names.update(dict.fromkeys(group, name))
    return names


def _ends(link: Fact) -> tuple[str, str]:
    return link.values["from"], link.values["to"]
