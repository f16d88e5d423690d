"""Exports over fakes: what is in a file, what may not leave, and what cuts one short."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from headrace.cache.model import CacheDown, NoPage, Page
from headrace.serving.app import create_app
from headrace.serving.export_formats import Row, writing
from headrace.serving.exports import AT_ONCE, MEMBERS_AT_ONCE
from headrace.serving.ports import Definition, Terms
from serving.fakes import AS_OF, EVERYBODY, FakeMemberships, FakeOutputs, FakeSegments, faked
from serving.test_api import problem

ENTERED = "2026-01-12T09:59:59Z"
MANY = 2 * MEMBERS_AT_ONCE + 1


@pytest.fixture
def memberships() -> FakeMemberships:
    fake = FakeMemberships()
    fake.put("ann", "big", traits='{"country":"DE","mail":"ann@example.org","age":3}')
    fake.put("=bob()", "big", traits='{"country":"+FR"}')
    fake.put("idle")
    return fake


@pytest.fixture
def outputs() -> FakeOutputs:
    return FakeOutputs()


@pytest.fixture
def client(memberships: FakeMemberships, outputs: FakeOutputs) -> TestClient:
    segments = FakeSegments(
        [
            Definition(segment="nightly", version=1, refresh="0 3 * * *"),
            Definition(segment="soon", version=1),
        ]
    )
    app = create_app(faked(memberships, segments, outputs), EVERYBODY, clock=lambda: AS_OF)
    return TestClient(app, raise_server_exceptions=False)


def test_csv_has_a_column_for_each_trait_that_identifies_nobody(client: TestClient) -> None:
    answer = client.get("/v1/segments/big/export")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="big.csv"'
    assert answer.headers["headrace-as-of"] == "2026-01-12T10:00:00.250Z"
    assert answer.headers["headrace-version"] == "1"
    assert answer.text == (
        f"user_id,entered_at,country\r\n'=bob(),{ENTERED},'+FR\r\nann,{ENTERED},DE\r\n"
    )


def test_ndjson_has_values_as_they_are(client: TestClient) -> None:
    answer = client.get("/v1/segments/big/export?format=ndjson&trait=mail&trait=country")
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        {"user_id": "=bob()", "entered_at": ENTERED, "traits": {"country": "+FR"}},
        {
            "user_id": "ann",
            "entered_at": ENTERED,
            "traits": {"mail": "ann@example.org", "country": "DE"},
        },
    ]


def test_parquet_can_be_read(client: TestClient) -> None:
    answer = client.get("/v1/segments/big/export?format=parquet")
    table = parquet.read_table(io.BytesIO(answer.content))
    assert table.column("user_id").to_pylist() == ["=bob()", "ann"]
    assert table.column("country").to_pylist() == ["+FR", "DE"]
    assert table.schema.field("entered_at").type == pa.timestamp("ms", "UTC")


@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet"])
def test_all_pages_are_in_it(client: TestClient, memberships: FakeMemberships, format: str) -> None:
    users = [f"u{number:04}" for number in range(MANY)]
    for user in users:
        memberships.put(user, "many")
    answer = client.get(f"/v1/segments/many/export?members_only=true&format={format}")
    if format == "parquet":
        found = parquet.read_table(io.BytesIO(answer.content)).column("user_id").to_pylist()
    elif format == "csv":
        found = [row["user_id"] for row in csv.DictReader(io.StringIO(answer.text))]
    else:
        found = [json.loads(line)["user_id"] for line in answer.text.splitlines()]
    assert found == users


def test_who_left_since_the_page_was_read_is_not_in_it(
    client: TestClient, memberships: FakeMemberships, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def page_of_before(*_: object, **__: object) -> Page | NoPage:
        return Page(("ann", "gone", "idle"), 1, None, AS_OF)

    monkeypatch.setattr(memberships, "members", page_of_before)
    answer = client.get("/v1/segments/big/export?members_only=true")
    assert answer.text == f"user_id,entered_at\r\nann,{ENTERED}\r\n"


def test_what_is_held_does_not_leave(client: TestClient, outputs: FakeOutputs) -> None:
    outputs.given = Terms({}, {"big": "lost 43 % of its members in an hour"})
    body = problem(client.get("/v1/segments/big/export"), 409, "outputs-held")
    assert "43 %" in body["detail"]
    outputs.given = None  # nobody knows whether it is held
    problem(client.get("/v1/segments/big/export"), 503, "definitions-unavailable")


@pytest.mark.parametrize(
    ("query", "status", "code", "says"),
    [
        ("big/export?trait=contry", 422, "unknown-trait", "did you mean 'country'?"),
        ("big/export?format=xls", 422, "invalid-request", "an error"),
        ("bog/export", 404, "unknown-segment", "'bog'"),
        ("nightly/export", 409, "batch-segment", "export_segment.py"),
        ("soon/export", 409, "still-building", "soon"),
    ],
)
def test_a_refusal_says_why(
    client: TestClient, query: str, status: int, code: str, says: str
) -> None:
    assert says in problem(client.get(f"/v1/segments/{query}"), status, code)["detail"]


def test_nothing_is_exported_while_the_cache_is_away(
    client: TestClient, memberships: FakeMemberships
) -> None:
    memberships.trouble = CacheDown("x")
    problem(client.get("/v1/segments/big/export"), 503, "cache-unavailable")


@pytest.mark.parametrize("cut", ["version", "cache"])
def test_an_export_that_cannot_go_on_is_not_a_file(
    client: TestClient, memberships: FakeMemberships, cut: str
) -> None:
    for number in range(MANY):
        memberships.put(f"u{number:04}", "many")
    pages = memberships.members

    async def members(segment: str, *, after: str, limit: int) -> Page | NoPage:
        if after and cut == "cache":
            raise CacheDown("x")
        found = await pages(segment, after=after, limit=limit)
        if after and isinstance(found, Page):
            return Page(found.users, 2, found.next_after, found.as_of)
        return found

    memberships.members = members  # type: ignore[method-assign]
    client = TestClient(client.app)
    with pytest.raises(Exception, match=r"many behind|already started"):
        client.get("/v1/segments/many/export")
    # It counts no longer: all places are free.
    for _ in range(AT_ONCE + 1):
        assert client.get("/v1/segments/big/export").status_code == 200


def test_only_so_many_are_under_way(client: TestClient) -> None:
    app = client.app
    app.state.exports.under_way = AT_ONCE  # type: ignore[attr-defined]
    body = problem(client.get("/v1/segments/big/export"), 503, "too-many-exports")
    assert str(AT_ONCE) in body["detail"]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
                lambda text: "\0" not in text
            ),
            st.none() | st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-9, 9),
        )
    )
)
def test_any_text_is_read_back_and_computes_nothing(
    rows: list[tuple[str, str | int | None]],
) -> None:
    out = writing("csv", ["note"])
    given_rows = [Row(user, AS_OF, {} if note is None else {"note": note}) for user, note in rows]
    text = (out.write(given_rows) + out.end()).decode()
    read = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert len(read) == len(rows)
    for (user, _, note), (sent, noted) in zip(read, rows, strict=True):
        assert user.removeprefix("'") == sent.removeprefix("'")
        assert note.removeprefix("'") == ("" if noted is None else str(noted)).removeprefix("'")
        assert user[0] not in "=+@\t\r"
