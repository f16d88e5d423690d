"""Joined ids and deletions."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.engine.door import admit
from headrace.engine.identity import FORGOTTEN, Identities, apply_identities, links_of, resolve
from headrace.engine.state import FACTS_SCHEMA
from headrace.rules.reference_facts import read_facts
from headrace.rules.reference_people import people
from strategies import CATALOG
from streams import raw

AT = 100


def join(source: str, target: str, ts: int = 1) -> dict[str, object]:
    return {"type": "alias", "from": source, "to": target, "ts": ts}


def delete(user: str, ts: int) -> dict[str, object]:
    return {"type": "delete", "user_id": user, "ts": ts}


def resolved(*lines: dict[str, object], at: int = AT) -> Identities:
    values = [orjson.dumps(line) for line in lines]
    return resolve(
        links_of(admit(raw(values), catalog=CATALOG, now=None, retention_ms=None)), at=at
    )


@pytest.mark.parametrize(
    ("lines", "canonical", "forgotten"),
    [
        pytest.param([join("a", "b")], {"a": "b"}, {}, id="one join"),
        pytest.param([join("a", "b"), join("b", "c")], {"a": "c", "b": "c"}, {}, id="a chain"),
        pytest.param([join("a", "b"), join("b", "a")], {"b": "a"}, {}, id="a cycle"),
        pytest.param([join("z", "z")], {}, {}, id="with itself"),
        pytest.param([join("x", "b"), join("x", "a")], {"x": "a", "b": "a"}, {}, id="two targets"),
        pytest.param([join("a", "b", AT + 1)], {}, {}, id="not yet"),
        pytest.param(
            [join("a", "b", 5), delete("b", 5)], {}, {"a": 5, "b": 5}, id="joined at that instant"
        ),
        pytest.param([join("a", "b", 6), delete("b", 5)], {"a": "b"}, {"b": 5}, id="joined after"),
        pytest.param(
            [join("a", "b", 1), delete("a", 5), join("b", "c", 7), delete("c", 9)],
            {},
            {"a": 5, "b": 9, "c": 9},
            id="deleted twice",
        ),
        pytest.param([delete("a", AT + 1)], {}, {}, id="a deletion to come"),
    ],
)
def test_resolves(
    lines: list[dict[str, object]], canonical: dict[str, str], forgotten: dict[str, int]
) -> None:
    assert resolved(*lines) == Identities(canonical, forgotten)
    assert resolved(*reversed(lines)) == Identities(canonical, forgotten)


names = st.sampled_from("abcdef")
links = st.one_of(
    st.builds(join, names, names, st.integers(0, 9)), st.builds(delete, names, st.integers(0, 9))
)


@given(st.lists(links, max_size=12))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_resolves_like_the_reference(lines: list[dict[str, object]]) -> None:
    found = resolved(*lines)
    seen = [
        {"event_id": f"{u}{ts}", "user_id": u, "type": "login", "ts": ts}
        for u in "abcdef"
        for ts in range(11)
    ]
    expected = people(read_facts([orjson.dumps(one) for one in [*lines, *seen]], CATALOG, AT))
    events = admit(
        raw([orjson.dumps(one) for one in seen]), catalog=CATALOG, now=None, retention_ms=None
    )
    facts = apply_identities(events.append_column("at", pa.array([AT] * len(events))), found)
    assert facts.schema.equals(FACTS_SCHEMA)
    of: dict[str, set[tuple[str, int]]] = {}
    for fact in facts.filter(pc.not_equal(facts["type"], FORGOTTEN)).to_pylist():
        of.setdefault(fact["user_id"], set()).add((fact["sent_id"], fact["ts"]))
    assert of == {
        user: {(fact.user, fact.ts) for fact in person.events["login"]}
        for user, person in expected.known.items()
    }
