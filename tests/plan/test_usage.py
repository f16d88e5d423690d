"""Which measures rest on what identifies a person."""

from __future__ import annotations

from headrace.plan.build import SegmentVersion, build_plan
from headrace.plan.model import JobParameters
from headrace.plan.registry import MemoryRegistry
from headrace.plan.usage import harmless_measures
from headrace.rules.yaml import parse_catalog, parse_segment

CATALOG = parse_catalog("""
apiVersion: headrace/v1
kind: Catalog
events:
  signup: {properties: {phone: {type: string}, plan: {type: string}}}
  login: {properties: {phone: {type: string}}}
traits:
  last_phone: {event: signup, last: phone}
  signups: {event: signup, count: true}
""")
CONDITIONS = (
    "{event: signup, count: true, gte: 2}",
    "{event: signup, count: true, where: {phone: '5'}, gte: 2}",
    "{event: signup, last: phone, eq: '5'}",
    "{event: signup, last: plan, eq: pro}",
    "{event: login, count: true, where: {phone: '5'}, gte: 1}",
    "{sequence: [{event: login}, {event: signup, where: {phone: '5'}}]}",
    "{sequence: [{event: login}, {event: signup}]}",
)


def test_fields_filters_and_steps_give_a_measure_away() -> None:
    head = "apiVersion: headrace/v1\nkind: Segment\nmetadata: {{id: s{}}}\nspec:\n  match: {}\n"
    segments = [parse_segment(head.format(n, text)) for n, text in enumerate(CONDITIONS)]
    versions = [SegmentVersion(segment, 1) for segment in segments]
    plan = build_plan(versions, CATALOG, MemoryRegistry(), JobParameters())
    names, computed = harmless_measures(plan, {"signup": frozenset(("phone",))})
    hidden = {measure.name for measure in plan.measures} - names
    assert {name for name in hidden if "phone" not in name} == set()
    assert len(hidden) == 4, hidden
    assert 'count(login where phone = "5")' in names, "another event's"
    assert computed == {"signups"}
    everything, all_computed = harmless_measures(plan, {})
    assert everything == {measure.name for measure in plan.measures}
    assert all_computed == {"last_phone", "signups"}
