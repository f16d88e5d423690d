"""Rules are published when their own tests hold, and not before."""

from __future__ import annotations

import pytest

from headrace.errors import RuleError
from headrace.rules.source import Rules
from headrace.rules.yaml import parse_segment
from headrace.runtime import publish
from headrace.settings import Settings
from rule_folders import segment
from strategies import CATALOG

WRONG = """\
tests:
  - name: who logs in buys
    events: [{user: ann, ts: 5, type: login}]
    expect: [{user: ann, at: 9, member: true}]
"""


def test_rules_that_break_their_own_tests_reach_no_store() -> None:
    rules = Rules(CATALOG, (parse_segment(segment("buyers", "{did: purchase}") + WRONG),))
    with pytest.raises(RuleError) as caught:
        publish(None, Settings(), rules, author="ann")  # type: ignore[arg-type]
    assert [problem.code for problem in caught.value.problems] == ["HR320"]
