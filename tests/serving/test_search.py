"""Users by traits and segments: all who fit, once, in order, however pages are cut."""

from __future__ import annotations

import asyncio
import itertools
import json
from random import Random

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from fastapi.testclient import TestClient

from headrace.engine.state import STATE_SCHEMA
from headrace.engine.traits import latest
from headrace.lake.tables import Tables
from headrace.rules.catalog import Field
from headrace.serving.app import create_app
from headrace.serving.ports import Terms
from headrace.serving.reading import Readers
from headrace.serving.search import AT_ONCE, Query, candidates_of, search
from serving.fakes import AS_OF, EVERYBODY, FakeMemberships, FakeOutputs, faked
from serving.test_api import problem

USERS = [f"u{number:04}" for number in range(3 * AT_ONCE)]
COUNTRIES = ("DE", "FR", 'a"b', "D.E", "it's")
TERMS = Terms(
    {
        "country": Field("string"),
        "age": Field("integer"),
        "pro": Field("boolean"),
        "worth": Field("decimal"),
    },
    {},
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeMemberships, Tables]:
    """Users as Redis and the tables have them; some were elsewhere before, one is gone."""
    random, memberships, rows = Random(3), FakeMemberships(), []
    for user in USERS:
        old, new = random.choices(COUNTRIES, k=2)
        traits = {"country": new, "age": random.randrange(3), "pro": random.random() < 0.5}
        segments = [name for name in ("big", "vip", "rare") if random.random() < 0.4]
        for n, told in ((1, {**traits, "country": old}), (2, traits)):
            text = latest(None, [(n, told)])
            rows.append({"user_id": user, "n": n, "layout": 1, "traits": text, "bucket": 0})
        if user != "u0007":
            memberships.put(user, *segments, traits=json.dumps(traits))
    root = tmp_path_factory.mktemp("tables")
    schema = STATE_SCHEMA.append(pa.field("bucket", pa.int32()))
    write_deltalake(str(root / "profiles"), pa.Table.from_pylist(rows, schema))
    return memberships, Tables(str(root))


@pytest.fixture
def client(known: tuple[FakeMemberships, Tables]) -> TestClient:
    memberships, tables = known
    ports = faked(
        memberships, outputs=FakeOutputs(TERMS), candidates=candidates_of(tables, Readers())
    )
    return TestClient(
        create_app(ports, EVERYBODY, clock=lambda: AS_OF), raise_server_exceptions=False
    )


def fitting(memberships: FakeMemberships, query: Query) -> list[str]:
    """The truth, one by one."""
    found = []
    for user, state in sorted(memberships.states.items()):
        traits, held = json.loads(state.traits or "{}"), {p.segment for p in state.memberships}
        if {*query.segments} <= held and all(
            json.dumps(traits.get(name)) == json.dumps(value)
            for name, value in query.traits.items()
        ):
            found.append(user)
    return found


@pytest.mark.parametrize("limit", [1, 7, 500])
@pytest.mark.parametrize(
    "query",
    [
        Query(("rare",), {}),
        Query(("big", "vip", "rare"), {"country": "DE"}),
        Query((), {"country": 'a"b'}),
        Query((), {"country": "D.E", "age": 1, "pro": True}),
        Query((), {"country": "it's", "pro": False}),
        Query((), {"country": "nowhere"}),
        Query(("vip",), {"age": 1}),
    ],
)
def test_pages_are_all_who_fit(
    known: tuple[FakeMemberships, Tables], query: Query, limit: int
) -> None:
    memberships, tables = known
    ticks = itertools.count(0, 0.2)  # every second look takes too long
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = asyncio.run(
            search(
                memberships,
                query,
                candidates_of(tables, Readers()),
                after=after,
                limit=limit,
                clock=lambda: next(ticks),
            )
        )
        assert len(page.users) <= limit
        found += [state.id for state in page.users]
        after = page.next_after
    assert found == fitting(memberships, query)


def test_an_answer(client: TestClient, known: tuple[FakeMemberships, Tables]) -> None:
    expected = fitting(known[0], Query(("vip",), {"country": "DE", "age": 2}))
    asked = "/v1/users?segment=vip&trait=country:DE&trait=age:2&limit=5"
    body = client.get(asked).json()
    assert [one["user_id"] for one in body["users"]] == expected[:5]
    assert all("vip" in one["segments"] for one in body["users"])
    assert body["users"][0]["traits"]["country"] == "DE" and not body["stale"]
    again = client.get(f"{asked}&cursor={body['next_cursor']}").json()
    assert [one["user_id"] for one in again["users"]] == expected[5:10]


@pytest.mark.parametrize(
    ("query", "status", "code", "says"),
    [
        ("", 422, "invalid-request", "at least one"),
        ("trait=country", 422, "invalid-request", "NAME:VALUE"),
        ("trait=contry:DE", 422, "invalid-request", "did you mean 'country'?"),
        ("trait=age:old", 422, "invalid-request", "(integer)"),
        ("trait=age:%C2%B2", 422, "invalid-request", "(integer)"),
        ("trait=worth:1.5", 422, "invalid-request", "(decimal)"),
        ("segment=bog", 404, "unknown-segment", "'bog'"),
        ("segment=big&cursor=x", 422, "invalid-cursor", "cursor"),
    ],
)
def test_a_refusal_says_why(
    client: TestClient, query: str, status: int, code: str, says: str
) -> None:
    assert says in problem(client.get(f"/v1/users?{query}"), status, code)["detail"]
