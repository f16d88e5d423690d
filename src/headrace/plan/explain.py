"""A plan for people: golden files, `headrace plan` and the UI print this text."""

from __future__ import annotations

from headrace.plan.model import Plan


def explain(plan: Plan) -> str:
    """Every base, window, predicate and program, with how often each is shared."""
    raise NotImplementedError
