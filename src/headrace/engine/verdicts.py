"""Which memberships turn over, and by what plan change some of them are bound to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headrace.engine.bits import unlike
from headrace.engine.changes import Ended
from headrace.engine.members import Members
from headrace.engine.program import Compiled
from headrace.engine.rules import Group, by_cuts, by_predicates, crossings, unique_pairs
from headrace.engine.state import Bools, Ints
from headrace.plan.diff import PlanDiff

SPARSE = 16
"""A pair costs about as much as this many users in a full evaluation (measured)."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a plan change demands of each user: ``rules`` are judged anew, whatever else happened.

    Retired versions take numbers after the plan's programs, in the order of ``ended``.
    """

    rules: Ints
    replaced: dict[int, int | None]
    ended: list[Ended]

    @staticmethod
    def of(code: Compiled, diff: PlanDiff | None) -> Definition:
        if diff is None:
            return Definition(np.empty(0, np.int64), {}, [])
        new = {one for one in diff.replaced.values() if one is not None} | set(diff.added)
        rules = np.flatnonzero(np.isin(code.version_ids, list(new)))
        gone = sorted(old for old, successor in diff.replaced.items() if successor is None)
        ended = [Ended(*diff.names[old]) for old in gone]
        return Definition(rules, dict(diff.replaced), ended)

    def mapped(self, code: Compiled, members: Members) -> tuple[Members, Turns]:
        """Members with bits moved to their successors, and who leaves retired versions."""
        users: list[Ints] = []
        rules: list[Ints] = []
        number = len(code.version_ids)
        for old, successor in sorted(self.replaced.items()):
            those = members.of(old)
            if successor is None:
                users.append(those)
                rules.append(np.full(len(those), number))
                number += 1
            if successor == old:
                continue
            members = members.toggled(those, np.full(len(those), old))
            if successor is not None:
                members = members.toggled(those, np.full(len(those), successor))
        left = joined(users)
        return members, Turns(left, joined(rules), np.zeros(len(left), np.bool_))


@dataclass(frozen=True, slots=True)
class Turns:
    """(user, rule) pairs whose membership is no longer what it was; ``entered`` says which way."""

    users: Ints
    rules: Ints
    entered: Bools

    def among(self, seen: Bools, code: Compiled, members: Members) -> Turns:
        """Of who is not seen none but these: he leaves whatever he was in."""
        if seen.all():
            return self
        kept = seen[self.users]
        users, versions = members.pairs()
        gone = ~seen[users]
        rules = code.rules_of(versions[gone])
        leaving = Turns(users[gone], rules, np.zeros(len(rules), np.bool_))
        return Turns(self.users[kept], self.rules[kept], self.entered[kept]).and_(leaving)

    def and_(self, other: Turns) -> Turns:
        """Both, by user and rule."""
        users, rules = joined([self.users, other.users]), joined([self.rules, other.rules])
        order = np.lexsort((rules, users))
        entered = np.concatenate([self.entered, other.entered])
        return Turns(users[order], rules[order], entered[order])


@dataclass(frozen=True, slots=True)
class Suspects:
    """What a batch moved: cuts stepped over, trait predicates answering otherwise, new users."""

    cuts: tuple[Ints, Ints, Ints]
    predicates: tuple[Ints, Ints]
    strangers: Ints

    @staticmethod
    def of(
        code: Compiled, old: Ints, new: Ints, predicates: tuple[Ints, Ints], known: Bools
    ) -> Suspects:
        return Suspects(crossings(code, old, new), predicates, np.flatnonzero(~known))

    @property
    def users(self) -> Ints:
        """Whose answers may be others now."""
        return joined([self.cuts[0], self.predicates[0], self.strangers])

    def pairs(self, code: Compiled, most: int) -> tuple[Ints, Ints] | None:
        """The (user, rule) pairs to judge, each once; None when they are more than ``most``."""
        starts, _ = code.rules_by_cut
        count = int((starts[self.cuts[2]] - starts[self.cuts[1]]).sum())
        if count + len(self.strangers) * len(code.rules_of_nobody) > most:
            return None
        crossed = by_cuts(code, *self.cuts)
        told = by_predicates(code, *self.predicates)
        of_nobody = code.rules_of_nobody
        users = joined([crossed[0], told[0], np.repeat(self.strangers, len(of_nobody))])
        rules = joined([crossed[1], told[1], np.tile(of_nobody, len(self.strangers))])
        return unique_pairs(code, users, rules)


def turned(
    code: Compiled, group: Group, members: Members, suspects: Suspects, size: int,
    definition: Definition, *, full: bool,
) -> Turns:  # fmt: skip
    """All memberships of the group that are not what ``members`` says."""
    judged = np.zeros(len(code.version_ids), np.bool_)
    judged[definition.rules] = True
    pairs = None if full else suspects.pairs(code, size * len(judged) // SPARSE + 1_000)
    if pairs is None:
        judged[:] = True
        pairs = (np.empty(0, np.int64), np.empty(0, np.int64))
    users, rules = pairs
    if judged.any():
        rest = ~judged[rules]
        users, rules = users[rest], rules[rest]
    holds = group.on_pairs(users, rules)
    turn = holds != members.has(users, code.version_ids[rules])
    some = Turns(users[turn], rules[turn], holds[turn])
    if not judged.any():
        return some
    return some.and_(_judged(code, group, members, size, np.flatnonzero(judged)))


def _judged(code: Compiled, group: Group, members: Members, size: int, rules: Ints) -> Turns:
    """The turns of ``rules``, each evaluated for everyone."""
    users, those, entered = [], [], [np.empty(0, np.bool_)]
    for some_users, some_rules, holds in unlike(code, group, members, size, rules):
        users.append(some_users)
        those.append(some_rules)
        entered.append(holds)
    return Turns(joined(users), joined(those), np.concatenate(entered))


def joined(parts: list[Ints]) -> Ints:
    """Arrays end to end; none give an empty one."""
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
