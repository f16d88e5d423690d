"""The API over fakes: answers, errors, odd ids, and its committed description."""

from __future__ import annotations

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.cache.model import CacheDown, Incomplete, LoaderStatus
from headrace.errors import OperatorError
from headrace.lake.letters import Rejected, Spot
from headrace.lake.tables import LakeDown
from headrace.lake.timeline import Entry, Part, Place
from headrace.serving.app import create_app, openapi_text
from headrace.serving.ports import Building, Definition, Profile, TraitValue
from serving.fakes import (
    AS_OF,
    EVERYBODY,
    FakeLetters,
    FakeMemberships,
    FakeProfiles,
    FakeSegments,
    faked,
)

OPENAPI = Path(__file__).parents[2] / "serving" / "openapi.json"
THEN = "2026-01-12T10:00:00.250Z"
SECRET_ADDRESS = "10.1.2.3:6379"


@pytest.fixture
def memberships() -> FakeMemberships:
    fake = FakeMemberships(status=LoaderStatus(state="loading", at=AS_OF, as_of=AS_OF, lag=4))
    fake.put("ann", "big", "vip", traits='{"country":"DE"}')
    fake.put("bob", "big")
    fake.put("idle")
    return fake


@pytest.fixture
def segments() -> FakeSegments:
    return FakeSegments(
        [
            Definition(segment="big", version=1, name="Big", tags=("a",), text="kind: Segment"),
            Definition(segment="vip", version=2),
            Definition(segment="soon", version=1, created_at=AS_OF, activated_at=AS_OF),
        ]
    )


@pytest.fixture
def profiles() -> FakeProfiles:
    return FakeProfiles()


@pytest.fixture
def client(
    memberships: FakeMemberships, segments: FakeSegments, profiles: FakeProfiles
) -> TestClient:
    ports = faked(memberships, segments, profiles=profiles)
    app = create_app(ports, EVERYBODY, clock=lambda: AS_OF, body_limit=100_000)
    return TestClient(app, raise_server_exceptions=False)


def problem(response: Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status and body["code"] == code
    assert body["title"] and body["detail"] and body["type"] == "about:blank"
    return body


def test_segments_of_a_user(client: TestClient) -> None:
    assert client.get("/v1/users/bob/segments").json() == {
        "user_id": "bob",
        "canonical_id": "bob",
        "as_of": THEN,
        "stale": False,
        "segments": [{"segment": "big", "version": 1, "entered_at": "2026-01-12T09:59:59Z"}],
    }
    assert client.get("/v1/users/idle/segments").json()["segments"] == []


def test_a_user(client: TestClient) -> None:
    body = client.get("/v1/users/ann").json()
    assert body["traits"] == {"country": "DE"} and body["as_of"] == THEN
    assert body["measures"] == {
        "count(purchase) within 7d": {"value": "3", "at": "2026-01-12T10:00:00Z"}
    }
    assert [part["segment"] for part in body["segments"]] == ["big", "vip"]


def test_segments(client: TestClient) -> None:
    body = client.get("/v1/segments").json()
    assert body["as_of"] == THEN
    assert [
        (row["id"], row["version"], row["active_version"], row["state"], row["size"])
        for row in body["segments"]
    ] == [
        ("big", 1, 1, "active", 2),
        ("soon", 1, None, "building", None),
        ("vip", 2, 1, "building", 1),
    ]


def test_a_segment(client: TestClient) -> None:
    body = client.get("/v1/segments/big").json()
    assert body["definition"] == "kind: Segment" and body["size"] == 2 and body["as_of"] == THEN
    assert client.get("/v1/segments/soon").json()["created_at"] == THEN


def test_a_segment_that_only_the_cache_knows_is_retiring(
    client: TestClient, segments: FakeSegments
) -> None:
    segments.rows = []
    body = client.get("/v1/segments/big").json()
    assert body["state"] == "retiring" and body["definition"] is None


def test_a_segment_that_is_built_says_how_far_it_is(
    client: TestClient, segments: FakeSegments
) -> None:
    segments.building = {"vip": Building(2, 63), "soon": Building(7, 40), "big": Building(1, 100)}
    rows = client.get("/v1/segments").json()["segments"]
    progress = {row["id"]: row["progress"] for row in rows}
    assert progress == {"big": None, "vip": 63, "soon": 0}, "version 7 of soon is another"
    assert client.get("/v1/segments/vip").json()["progress"] == 63


ASKED = [
    ("GET", "/v1/segments"),
    ("GET", "/v1/segments/big"),
    ("GET", "/v1/segments/big/members"),
    ("GET", "/v1/users/ann"),
    ("GET", "/v1/users/ann/segments"),
    ("POST", "/v1/memberships:batch"),
]


@pytest.mark.parametrize(("method", "path"), ASKED)
@pytest.mark.parametrize(
    ("later", "is_stale"),
    [
        pytest.param(0, False, id="at once"),
        pytest.param(5_000, False, id="at the target"),
        pytest.param(5_001, True, id="beyond the target"),
        pytest.param(-5_001, True, id="ahead of our clock"),
    ],
)
def test_old_answers_are_flagged(
    memberships: FakeMemberships,
    segments: FakeSegments,
    method: str,
    path: str,
    later: int,
    is_stale: bool,
) -> None:
    app = create_app(
        faked(memberships, segments),
        EVERYBODY,
        clock=lambda: AS_OF + later,
        freshness_target=5_000,
    )
    body = {"users": ["ann"]} if method == "POST" else None
    answer = TestClient(app).request(method, path, json=body).json()
    assert (answer["as_of"], answer["stale"]) == (THEN, is_stale)


def test_a_profile(client: TestClient, profiles: FakeProfiles) -> None:
    profiles.found["ann"] = Profile(
        traits={"country": TraitValue("DE", AS_OF - 250)},
        lists={"vip": AS_OF - 1_250},
        measures={"sum(purchase.amount)": "18.5", "max(purchase.amount)": None},
        computed={"lifetime_value": "18.5"},
        identities=("ann", "visitor-7"),
        measured_at=AS_OF,
        first_seen=AS_OF - 2_250,
        updated_at=AS_OF - 250,
    )
    body = client.get("/v1/users/ann/profile").json()
    assert body["identities"] == ["ann", "visitor-7"]
    assert body["traits"] == {"country": {"value": "DE", "at": "2026-01-12T10:00:00Z"}}
    assert body["lists"] == {"vip": "2026-01-12T09:59:59Z"}
    assert body["measures"] == {"max(purchase.amount)": None, "sum(purchase.amount)": "18.5"}
    assert body["computed"] == {"lifetime_value": "18.5"}
    assert [part["segment"] for part in body["segments"]] == ["big", "vip"]
    assert body["as_of"] == THEN and body["first_seen"] == "2026-01-12T09:59:58Z"
    problem(client.get("/v1/users/nobody/profile"), 404, "unknown-user")
    # Forgotten since the cache was asked.
    problem(client.get("/v1/users/idle/profile"), 404, "unknown-user")
    profiles.trouble = LakeDown("profiles", "/var/tables is empty")
    body = problem(client.get("/v1/users/ann/profile"), 503, "tables-unavailable")
    assert "/var" not in body["detail"]


def test_a_timeline(client: TestClient, profiles: FakeProfiles) -> None:
    day = date(2026, 1, 12)
    event = {
        "day": day, "n": 7, "partition": 2, "offset": 40, "at": AS_OF, "event_id": None,
        "user_id": "visitor-7", "type": "purchase", "ts": AS_OF - 250, "properties": '{"a":1}',
    }  # fmt: skip
    transition = {
        "day": day, "n": 7, "id": "ab", "at": AS_OF, "effective_at": AS_OF - 250, "segment": "big",
        "version": 2, "change": "enter", "reason": "event", "measures": '{"m":null}',
    }  # fmt: skip
    place = Place(day, 7, "event", 2, 40)
    profiles.part = Part((Entry("transition", transition), Entry("event", event)), place)
    body = client.get("/v1/users/ann/timeline?limit=2").json()
    entered, bought = body["entries"]
    assert (entered["segment"], entered["measures"]) == ("big", {"m": None})
    assert (bought["type"], bought["user_id"], bought["properties"]) == (
        "purchase", "visitor-7", {"a": 1},
    )  # fmt: skip
    assert bought["id"] is None and bought["at"] == "2026-01-12T10:00:00Z"
    cursor = body["next_cursor"]
    profiles.part = Part((), Place(day))
    again = client.get(f"/v1/users/ann/timeline?type=login&type=logout&cursor={cursor}").json()
    user, asked = profiles.asked[-1]
    assert (user, asked["before"], asked["kinds"]) == ("ann", place, ("event",))
    assert asked["types"] == ["login", "logout"]
    client.get(f"/v1/users/ann/timeline?kind=transition&cursor={again['next_cursor']}")
    assert profiles.asked[-1][1]["before"] == Place(day)
    problem(client.get("/v1/users/nobody/timeline"), 404, "unknown-user")
    problem(client.get("/v1/users/ann/timeline?kind=x"), 422, "invalid-request")


def test_dead_letters() -> None:
    letters = FakeLetters(
        [
            (Rejected(Spot(9, "events.v1", 0, number), "bad-ts", AS_OF, raw), number == 2)
            for number, raw in ((3, b"{}"), (2, b"\xff"), (1, "Köln".encode()))
        ]
    )
    client = TestClient(create_app(faked(letters=letters), EVERYBODY, clock=lambda: AS_OF))
    assert client.get("/v1/dead-letters/reasons?days=30").json() == {
        "days": 30, "reasons": [{"reason": "bad-ts", "messages": 30, "newest_at": THEN}],
    }  # fmt: skip
    page = client.get("/v1/dead-letters?limit=2&reason=bad-ts&reason=not-json").json()
    first, second = page["messages"]
    assert (first["place"], first["text"], first["sent_again"]) == ("events.v1/0/3", "{}", False)
    assert (second["text"], second["base64"], second["sent_again"]) == (None, "/w==", True)
    page = client.get(f"/v1/dead-letters?cursor={page['next_cursor']}").json()
    assert [one["text"] for one in page["messages"]] == ["Köln"] and page["next_cursor"] is None
    assert letters.asked == [
        (7, ["bad-ts", "not-json"], None), (7, [], Spot(9, "events.v1", 0, 2)),
    ]  # fmt: skip
    problem(client.get("/v1/dead-letters?cursor=W10"), 422, "invalid-cursor")
    problem(client.get("/v1/dead-letters?days=0"), 422, "invalid-request")


@pytest.mark.parametrize(
    "told",
    [
        ["2026-01-12", 7, "event", 2, 1 << 70, ""],
        ["2026-13-12", 7, "event", 2, 1, ""],
        ["2026-01-12", 7, "other", 2, 1, ""],
        ["2026-01-12", "7", "event", 2, 1, ""],
        {"day": 1},
        7,
    ],
)
def test_a_cursor_of_somebody_else_is_refused(client: TestClient, told: Any) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
    answer = client.get(f"/v1/users/ann/timeline?cursor={cursor}")
    problem(answer, 422, "invalid-cursor")
    problem(client.get("/v1/users/ann/timeline?cursor=%C3%BC"), 422, "invalid-cursor")


def test_a_segment_tells_of_its_troubles(client: TestClient, segments: FakeSegments) -> None:
    segments.troubles = {"big": ["stream orders is failing: all bad"]}
    rows = {row["id"]: row["troubles"] for row in client.get("/v1/segments").json()["segments"]}
    assert rows == {"big": ["stream orders is failing: all bad"], "soon": [], "vip": []}
    assert client.get("/v1/segments/big").json()["troubles"] == rows["big"]


def test_each_segment_is_flagged_but_those_in_batch_only(
    memberships: FakeMemberships, segments: FakeSegments
) -> None:
    segments.rows.append(Definition(segment="weekly", version=1, refresh="0 3 * * 1"))
    client = TestClient(
        create_app(
            faked(memberships, segments),
            EVERYBODY,
            clock=lambda: AS_OF + 9_000,
            freshness_target=5_000,
        )
    )
    rows = client.get("/v1/segments").json()["segments"]
    flags = {row["id"]: row["stale"] for row in rows}
    assert flags == {"big": True, "soon": True, "vip": True, "weekly": None}
    assert client.get("/v1/segments/weekly").json()["stale"] is None
    told = client.get("/metrics").text.splitlines()
    assert {
        "headrace_stale_segments 3.0",
        'headrace_segment_stale{segment="big"} 1.0',
        'headrace_segment_stale{segment="soon"} 1.0',
        'headrace_segment_stale{segment="vip"} 1.0',
    } <= set(told)
    assert not [line for line in told if "weekly" in line]
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["stale"], ready["stale_since"]) == ("ready", True, THEN)
    assert ready["checks"]["freshness"] == {"ok": False, "detail": f"stale since {THEN}"}


def test_metrics_of_a_cache_that_is_away_are_not_those_of_before(
    client: TestClient, memberships: FakeMemberships, segments: FakeSegments
) -> None:
    assert "headrace_stale_segments 0.0" in client.get("/metrics").text
    memberships.trouble = CacheDown(SECRET_ADDRESS)
    told = client.get("/metrics").text
    assert "headrace_freshness_seconds" not in told and "headrace_segment_members" not in told
    assert "headrace_stale_segments 3.0" in told
    memberships.trouble = None
    segments.rows, memberships.active = [], {"big": 1}
    told = client.get("/metrics").text
    assert "headrace_stale_segments 0.0" in told and "vip" not in told


def test_members_by_pages(client: TestClient, memberships: FakeMemberships) -> None:
    everyone = sorted([f"user {n}/ü" for n in range(7)] + ["ann", "bob"])
    for user in everyone:
        memberships.put(user, "big")
    seen: list[str] = []
    url = "/v1/segments/big/members?limit=4"
    while True:
        response = client.get(url)
        body = response.json()
        assert body["version"] == 1 and body["as_of"] == THEN
        seen += body["users"]
        if body["next_cursor"] is None:
            assert "link" not in response.headers
            break
        assert response.links["next"]["url"].endswith(body["next_cursor"])
        url = response.links["next"]["url"]
    assert seen == everyone


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=%21", "cursor=YQ", "cursor=MQ"]
)
def test_odd_pages_are_refused(client: TestClient, query: str) -> None:
    response = client.get(f"/v1/segments/big/members?{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_members_that_are_not_kept(client: TestClient, memberships: FakeMemberships) -> None:
    memberships.keeps_members = False
    problem(client.get("/v1/segments/big/members"), 409, "members-not-kept")


def test_a_batch(client: TestClient) -> None:
    asked = {"users": ["bob", "ann", "nobody", "ann"], "segments": ["vip", "nonsense"]}
    body = client.post("/v1/memberships:batch", json=asked).json()
    assert body == {
        "as_of": THEN,
        "stale": False,
        "users": [
            {"user_id": "bob", "canonical_id": "bob", "known": True, "segments": []},
            {"user_id": "ann", "canonical_id": "ann", "known": True, "segments": ["vip"]},
            {"user_id": "nobody", "canonical_id": "nobody", "known": False, "segments": []},
            {"user_id": "ann", "canonical_id": "ann", "known": True, "segments": ["vip"]},
        ],
    }
    del asked["segments"]
    body = client.post("/v1/memberships:batch", json=asked).json()
    assert [row["segments"] for row in body["users"]] == [
        ["big"],
        ["big", "vip"],
        [],
        ["big", "vip"],
    ]


def test_a_thousand_users_are_a_batch_and_one_more_is_not(client: TestClient) -> None:
    thousand = [f"u{n}" for n in range(1_000)]
    assert client.post("/v1/memberships:batch", json={"users": thousand}).status_code == 200
    response = client.post("/v1/memberships:batch", json={"users": [*thousand, "x"]})
    assert problem(response, 422, "invalid-request")["errors"][0]["pointer"] == "#/users"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param(b"{}", "#/users", id="nothing"),
        pytest.param(b'{"users": []}', "#/users", id="nobody"),
        pytest.param(b'{"users": ["a", 1]}', "#/users/1", id="a number"),
        pytest.param(b'{"users": [""]}', "#/users/0", id="empty id"),
        pytest.param(b'{"users": ["a\\u0000"]}', "#/users/0", id="NUL"),
        pytest.param(b'{"users": ["\\ud800"]}', "#/users/0", id="half a character"),
        pytest.param(b'{"users": ["a"], "user/s": 1}', "#/user~1s", id="unknown member"),
        pytest.param(b"[]", "#", id="an array"),
    ],
)
def test_errors_point_at_their_place(client: TestClient, body: bytes, pointer: str) -> None:
    response = client.post(
        "/v1/memberships:batch", content=body, headers={"content-type": "application/json"}
    )
    assert problem(response, 422, "invalid-request")["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 50_000])
def test_a_body_that_is_not_json(client: TestClient, body: bytes) -> None:
    response = client.post(
        "/v1/memberships:batch", content=body, headers={"content-type": "application/json"}
    )
    problem(response, 400, "invalid-json")


def test_a_body_too_large(client: TestClient) -> None:
    url = "/v1/memberships:batch"
    problem(client.post(url, content=b" " * 100_001), 413, "body-too-large")
    problem(client.post(url, content=iter([b" " * 60_000] * 2)), 413, "body-too-large")
    told = {"content-length": "9" * 5_000}
    problem(client.post(url, content=b"", headers=told), 413, "body-too-large")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("/v1/users/nobody", "unknown-user", id="user"),
        pytest.param("/v1/users/nobody/segments", "unknown-user", id="segments of a user"),
        pytest.param("/v1/segments/nothing", "unknown-segment", id="segment"),
        pytest.param("/v1/segments/nothing/members", "unknown-segment", id="members"),
        pytest.param("/v1/users/", "no-such-resource", id="no id"),
        pytest.param("/v1/users//segments", "no-such-resource", id="empty id"),
        pytest.param("/v2", "no-such-resource", id="elsewhere"),
    ],
)
def test_what_is_not_there(client: TestClient, path: str, code: str) -> None:
    problem(client.get(path), 404, code)


def test_a_method_that_is_not_there(client: TestClient) -> None:
    response = client.delete("/v1/users/ann")
    problem(response, 405, "method-not-allowed")
    assert "GET" in response.headers["allow"]


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        pytest.param(Incomplete(), "cache-incomplete", id="being filled"),
        pytest.param(CacheDown(SECRET_ADDRESS), "cache-unavailable", id="down"),
    ],
)
def test_without_a_cache_nobody_is_told_he_is_not_a_member(
    client: TestClient, memberships: FakeMemberships, trouble: Exception, code: str
) -> None:
    memberships.trouble = trouble
    for path in (
        "/v1/users/ann", "/v1/users/nobody/segments", "/v1/segments", "/v1/segments/x/members",
    ):  # fmt: skip
        response = client.get(path)
        problem(response, 503, code)
        assert int(response.headers["retry-after"]) > 0 and SECRET_ADDRESS not in response.text
    problem(client.post("/v1/memberships:batch", json={"users": ["ann"]}), 503, code)
    ready = client.get("/readyz")
    assert ready.status_code == 503 and ready.json()["status"] == "not ready"
    assert client.get("/livez").status_code == client.get("/metrics").status_code == 200


def test_without_definitions_memberships_are_served(
    client: TestClient, segments: FakeSegments
) -> None:
    segments.trouble = OperatorError("Postgres does not answer at 10.1.2.3")
    assert client.get("/v1/users/ann").status_code == 200
    assert client.get("/v1/segments/big/members").status_code == 200
    problem(client.get("/v1/segments"), 503, "definitions-unavailable")
    ready = client.get("/readyz")
    assert ready.status_code == 200 and not ready.json()["checks"]["definitions"]["ok"]


def test_health(client: TestClient, memberships: FakeMemberships) -> None:
    assert client.get("/livez").json() == {"status": "alive", "as_of": THEN}
    assert client.get("/startupz").json() == {"status": "started", "as_of": THEN}
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["as_of"], ready["lag"]) == ("ready", THEN, 4)
    assert (ready["stale"], ready["stale_since"]) == (False, None)
    memberships.status = LoaderStatus(state="loading", at=AS_OF - 60_000)
    assert not client.get("/readyz").json()["checks"]["loader"]["ok"]


def test_metrics_name_routes_not_users(client: TestClient) -> None:
    client.get("/v1/users/ann/segments")
    text = client.get("/metrics").text
    assert 'route="/v1/users/{user_id}/segments"' in text and "ann" not in text
    assert 'headrace_segment_members{segment="big"} 2.0' in text
    assert "headrace_freshness_seconds 0.0" in text


@pytest.mark.parametrize(
    "user",
    ["a/b", "/", "//", "a/segments", "segments", "a%2Fb", "..", ".", "a b", "ü", "日本", "a?b#c",
     "a+b", "100%", "\n", "a\\b", "😀", ":batch", "x" * 256],
)  # fmt: skip
def test_any_id_can_be_asked_for(
    client: TestClient, memberships: FakeMemberships, user: str
) -> None:
    memberships.put(user, "vip")
    for tail in ("", "/segments"):
        # httpx would resolve a dot segment, as browsers do: such ids must be encoded whole.
        path = quote(user, safe="").replace(".", "%2E")
        response = client.get(f"/v1/users/{path}{tail}")
        assert response.status_code == 200, response.text
        assert response.json()["user_id"] == user


def test_slashes_may_be_written_plainly(client: TestClient, memberships: FakeMemberships) -> None:
    memberships.put("a/b", "vip")
    assert client.get("/v1/users/a/b").json()["user_id"] == "a/b"
    assert client.get("/v1/users/a/b/segments").json()["user_id"] == "a/b"


@pytest.mark.parametrize("path", ["%ff", "%ED%A0%80", "a%00b", "x" * 257])
def test_an_id_that_can_be_nobodys_is_refused(client: TestClient, path: str) -> None:
    for tail in ("", "/segments"):
        body = problem(client.get(f"/v1/users/{path}{tail}"), 422, "bad-user-id")
        assert body["errors"][0]["parameter"] == "user_id"


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary(max_size=60).map(lambda raw: quote(raw, safe="/%?&=")),
    st.sampled_from(["/v1/users/", "/v1/segments/", "/v1/", "/"]),
    st.sampled_from(["", "/segments", "/members", "/members?cursor=", "?limit="]),
)
def test_no_path_breaks_it(client: TestClient, odd: str, head: str, tail: str) -> None:
    response = client.get(f"{head}{odd}{tail}{odd}")
    assert response.status_code < 500
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"


def test_the_committed_description_is_the_apps() -> None:
    text = openapi_text(create_app(faked(), EVERYBODY))
    assert OPENAPI.read_text() == text, "write openapi_text(app) to serving/openapi.json anew"


def test_every_route_is_described_with_an_example() -> None:
    document = create_app(faked(), EVERYBODY).openapi()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation.get("description"), path
            for status, response in operation["responses"].items():
                for kind, body in response.get("content", {}).items():
                    if kind != "text/plain":
                        assert "example" in body, (path, status)
                    if status.startswith("4"):
                        assert kind == "application/problem+json"
