"""Who may what: every route for every role, keys that are wrong or old, what is not shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient

from headrace.errors import OperatorError
from headrace.lake.timeline import Entry, Part
from headrace.serving.access import NEEDED, Guarded, Keyring
from headrace.serving.app import create_app
from headrace.serving.ports import Profile, TraitValue
from headrace.store import ApiKey
from headrace.store.api_keys import MAY, Role
from headrace.store.sources import hashed
from serving.fakes import AS_OF, FakeMemberships, FakeProfiles, FakeSegments, faked

ROLES: tuple[Role, ...] = get_args(Role)
NOW = datetime.fromtimestamp(AS_OF / 1_000, UTC)


def _event(kind: str, properties: str) -> Entry:
    row = {
        "event_id": "e", "ts": AS_OF, "at": AS_OF, "type": kind, "user_id": "ann",
        "properties": properties,
    }  # fmt: skip
    return Entry("event", row)


BOUGHT = _event("purchase", '{"phone":"5","sku":"x"}')
SAID = _event("traits", '{"mail":"a"}')


ENTERED = Entry(
    "transition",
    {
        "id": "t", "effective_at": AS_OF, "at": AS_OF, "segment": "big", "version": 1,
        "change": "enter", "reason": "event", "measures": '{"last(purchase.phone)":"5"}',
    },
)  # fmt: skip


def key(name: str, role: Role, **more: Any) -> ApiKey:
    text = f"hrk_{name}"
    return ApiKey(name=name, key_hash=hashed(text), key_hint=text[:8], role=role, **more)


KEYS = [
    *(key(role, role) for role in ROLES),
    key("shower", "viewer", reveals=True),
    key("late", "admin", expires_at=NOW - timedelta(seconds=1)),
    key("soon", "admin", expires_at=NOW + timedelta(seconds=1)),
    key("gone", "admin", revoked_at=NOW),
]


class Api:
    """An API with keys, in front of somebody who has an address."""

    def __init__(self, anonymous: Role | None = None) -> None:
        self.now, self.time, self.used = AS_OF, 0.0, list[dict[str, datetime]]()
        self.keys = list(KEYS)
        self.keyring = Keyring(
            lambda: self.keys,
            lambda used: self.used.append(dict(used)),
            anonymous=anonymous,
            clock=lambda: self.now,
            monotonic=lambda: self.time,
        )
        self.memberships, self.segments = FakeMemberships(), FakeSegments()
        self.memberships.put("ann", "big", traits='{"country":"DE","mail":"ann@example.org"}')
        traits = {"country": TraitValue("DE", AS_OF), "mail": TraitValue("a@example.org", AS_OF)}
        self.profiles = FakeProfiles(
            {
                "ann": Profile(
                    traits=traits, lists={}, identities=("ann",),
                    measures={"count(purchase) within 7d": "1", "last(purchase.phone)": "5"},
                    computed={"orders": "1", "last_phone": "5"},
                    measured_at=AS_OF, first_seen=AS_OF, updated_at=AS_OF,
                )
            },
            Part((BOUGHT, SAID, ENTERED), None),
        )  # fmt: skip
        ports = faked(self.memberships, self.segments, profiles=self.profiles)
        self.app = create_app(ports, self.keyring, clock=lambda: AS_OF)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.keyring.refresh()

    def ask(self, name: str, path: str = "/v1/users/ann") -> Any:
        return self.client.get(path, headers={"authorization": f"Bearer hrk_{name}"})


def operations(app: FastAPI) -> list[tuple[str, str, str]]:
    """Name, method and an address of every route there is, by the app's own description."""
    found = []
    for path, methods in app.openapi()["paths"].items():
        address = path.replace("{user_id}", "ann").replace("{segment_id}", "big")
        address = address.replace("{stream_id}", "orders")
        address += "?segment=big" if path == "/v1/users" else ""
        found += [(of["operationId"], method.upper(), address) for method, of in methods.items()]
    return found


def test_each_route_lets_those_in_whose_role_allows_it_and_nobody_else() -> None:
    api, admitted = Api(), 0
    for name, method, address in operations(api.app):
        body = {"users": ["ann"]} if method == "POST" else None
        needed = NEEDED[name]
        nobody = api.client.request(method, address, json=body)
        assert (nobody.status_code == 401) is (needed != "nothing"), address
        for role in ROLES:
            headers = {"authorization": f"Bearer hrk_{role}"}
            answer = api.client.request(method, address, json=body, headers=headers)
            refused = needed != "nothing" and needed not in MAY[role]
            assert (answer.status_code == 403) is refused, (address, role)
            assert answer.status_code != 401
            admitted += not refused
    assert admitted > len(ROLES) * 10
    assert {name for name, _, _ in operations(api.app)} == NEEDED.keys()


def test_a_route_that_nobody_has_listed_does_not_start() -> None:
    router = APIRouter(route_class=Guarded)
    with pytest.raises(KeyError, match="forgotten"):

        @router.get("/v1/forgotten")
        async def forgotten() -> None: ...


def test_a_route_is_refused_before_anything_of_the_request_is_looked_at() -> None:
    client = Api().client
    for path in ("/v1/users/%00", "/v1/segments/big/members?limit=0"):
        assert client.get(path).status_code == 401
    assert client.post("/v1/memberships:batch", content=b"{").status_code == 401
    assert client.post("/v1/memberships:batch", content=b" " * (3 << 20)).status_code == 401


@pytest.mark.parametrize("name", ["late", "gone", "unknown", "", "x" * 300])
def test_a_key_that_opens_nothing(name: str) -> None:
    api = Api("viewer")
    answer = api.ask(name)
    assert answer.status_code == 401 and answer.json()["code"] == "unknown-key"
    assert "Bearer" in answer.headers["www-authenticate"]
    for given in ("Basic aHJrX2FkbWluOg==", "hrk_admin", "Bearer"):
        assert api.client.get("/v1/segments", headers={"authorization": given}).status_code == 401
    assert api.client.get("/v1/segments?key=hrk_admin").status_code == 200, (
        "as nobody in particular"
    )


def test_a_key_ends_at_its_instant_and_when_it_is_revoked() -> None:
    api = Api()
    assert api.ask("soon").status_code == 200
    api.now += 1_000
    assert api.ask("soon").status_code == 401
    assert api.ask("admin").status_code == 200
    api.keys = [replace(one, revoked_at=NOW) for one in api.keys]
    api.keyring.refresh()
    assert api.ask("admin").status_code == 401


def test_who_tries_many_keys_is_told_to_wait() -> None:
    api = Api()
    answers = [api.ask(f"guess-{number}").status_code for number in range(62)]
    assert answers == [401] * 60 + [429] * 2
    assert api.ask("admin").status_code == 200, "a right key opens all the same"
    api.time += 1.0
    assert api.ask("guess").status_code == 401


def test_without_postgres_the_keys_known_last_go_on() -> None:
    api = Api()

    def down() -> list[ApiKey]:
        raise OperatorError("Postgres does not answer")

    keyring = Keyring(down, anonymous="viewer")
    api.app.state.keyring = keyring
    with pytest.raises(OperatorError):
        keyring.refresh()
    answer = api.ask("admin")
    assert answer.status_code == 503 and answer.json()["code"] == "keys-unavailable"
    assert api.client.get("/v1/users/ann").status_code == 200, "who shows none is let in as ever"


def test_when_a_key_was_used_is_told_with_the_next_refresh() -> None:
    api = Api()
    api.ask("viewer")
    api.ask("viewer")
    api.keyring.refresh()
    api.keyring.refresh()
    assert api.used == [{hashed("hrk_viewer"): NOW}]


@pytest.mark.parametrize(
    ("name", "sees"),
    [("viewer", False), ("analyst", False), ("operator", True), ("shower", True)],
)
def test_what_identifies_a_person_is_for_those_who_may_see_it(name: str, sees: bool) -> None:
    api = Api()
    masked = [] if sees else ["mail"]
    shown = {"country", "mail"} if sees else {"country"}
    user = api.ask(name).json()
    assert (user["traits"].keys(), user["masked"]) == (shown, masked)
    profile = api.ask(name, "/v1/users/ann/profile").json()
    assert profile["traits"].keys() == shown
    assert ("last(purchase.phone)" in profile["measures"]) is sees
    assert ("last_phone" in profile["computed"]) is sees
    assert profile["masked"] == ([] if sees else ["mail", "last(purchase.phone)", "last_phone"])
    assert profile["measures"]["count(purchase) within 7d"] == profile["computed"]["orders"] == "1"
    (found,) = api.ask(name, "/v1/users?segment=big").json()["users"]
    assert (found["traits"].keys(), found["masked"]) == (shown, masked)
    bought, said, entered = api.ask(name, "/v1/users/ann/timeline").json()["entries"]
    assert bought["properties"] == ({"phone": "5", "sku": "x"} if sees else {"sku": "x"})
    assert bought["masked"] == ([] if sees else ["phone"])
    assert said["properties"] == ({"mail": "a"} if sees else {})
    assert entered["measures"] == ({"last(purchase.phone)": "5"} if sees else {})
    expected = 200 if sees else 403
    assert api.ask(name, "/v1/users?trait=mail:ann@example.org").status_code == expected
    export = "/v1/segments/big/export?trait=mail"
    assert api.ask(name, export).status_code == expected
    assert api.ask(name, "/v1/segments/big/export").status_code == 200
    everything = "".join(
        api.ask(name, path).text
        for path in ("/v1/users/ann", "/v1/users/ann/profile", "/v1/users?segment=big")
    )
    assert ("example.org" in everything) is sees


def test_while_nobody_can_say_what_identifies_a_person_nothing_is_shown() -> None:
    api = Api()
    api.segments.trouble = OperatorError("Postgres does not answer")
    user = api.ask("viewer").json()
    assert user["traits"] == user["measures"] == {}
    assert user["masked"] == ["country", "mail", "count(purchase) within 7d"]
    assert [part["segment"] for part in user["segments"]] == ["big"]
    assert api.ask("admin").json()["traits"].keys() == {"country", "mail"}
