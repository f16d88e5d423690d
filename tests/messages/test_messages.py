"""Messages: what is written is read back, what is odd is refused by name, schemas agree."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import jsonschema
import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.messages.accepted import AcceptedEvent, encode_accepted
from headrace.messages.asyncapi import asyncapi
from headrace.messages.codec import BadMessage
from headrace.messages.control import Corrections, NewPlan, Reserved, decode_control, encode_control
from headrace.messages.headers import DeadLetter, cloud_event, decode_dead_letter
from headrace.messages.memberships import (
    Activated,
    Activation,
    Change,
    Heartbeat,
    UserChanges,
    activation_marker,
    decode_membership,
    encode_membership,
    heartbeat_marker,
)
from headrace.messages.segments import SegmentMember, decode_segment, encode_segment
from headrace.messages.topics import EVENTS, MEMBERSHIPS, SEGMENTS, TOPICS, in_namespace, topic

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
SCHEMAS = yaml.safe_load(asyncapi())["components"]["schemas"]

ids = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=256
)
instants = st.integers(0, 2**53)
changes = st.builds(
    Change,
    id=st.from_regex(r"\A[0-9a-f]{16}\Z"),
    segment=st.from_regex(r"\A[a-z][a-z0-9_]{0,62}\Z"),
    version=st.integers(1, 2**31),
    entered=st.booleans(),
    reason=st.sampled_from(["event", "time", "definition", "delete"]),
    at=instants,
    effective_at=instants,
    measures=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.just("1234.5") | st.none()
    ),
)
user_changes = st.builds(
    UserChanges,
    user=ids,
    n=st.integers(0, 2**53),
    at=instants,
    first_seen=st.booleans(),
    changes=st.lists(changes, max_size=4).map(tuple),
    traits=st.sampled_from([None, "{}", '{"country":"DE","tags":[]}']),
    deleted=st.booleans(),
    merged_into=st.none() | ids,
)


def conforms(schema: str, value: bytes | str) -> None:
    jsonschema.validate(orjson.loads(value), SCHEMAS[schema], jsonschema.Draft202012Validator)


@given(user_changes)
def test_changes_survive_the_way_and_fit_their_schema(message: UserChanges) -> None:
    raw = encode_membership(message)
    assert decode_membership(raw) == message
    conforms("changes", raw)


def test_the_message_of_the_kernel_is_understood() -> None:
    raw = (
        '{"user":"u1","n":7,"at":1700000000000,"first_seen":true,"changes":[{"id":'
        '"00ff00ff00ff00ff","segment":"high_value","version":3,"change":"enter","reason":"event",'
        '"at":1700000000000,"effective_at":1700000000000,'
        '"measures":{"sum(purchase.amount) within 30d":"1234.5"}}],"traits":{"country":"DE"}}'
    )
    conforms("changes", raw)
    message = decode_membership(raw)
    assert isinstance(message, UserChanges)
    assert message.changes[0].measures == {"sum(purchase.amount) within 30d": "1234.5"}
    assert message.traits == '{"country":"DE"}'


def test_markers() -> None:
    text = activation_marker(
        7, 1_000, old={"a": 1, "gone": 4, "same": 2}, new={"a": 2, "b": 1, "same": 2}
    )
    conforms("activation", text)
    assert decode_membership(text) == Activation(
        n=7, at=1_000, segments=(Activated("a", 2, 1), Activated("b", 1, None)), retired=("gone",)
    )
    conforms("heartbeat", heartbeat_marker(7, 1_000))
    assert decode_membership(heartbeat_marker(7, 1_000)) == Heartbeat(n=7, at=1_000)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(None, "empty", id="no value"),
        pytest.param(b"\xff\xfe", "not-json", id="bytes"),
        pytest.param(b"[1]", "not-an-object", id="array"),
        pytest.param(b'{"n":1,"at":1}', "wrong-type", id="no user"),
        pytest.param(b'{"user":1,"n":1,"at":1}', "wrong-type", id="a number for a user"),
        pytest.param(b'{"user":"","n":1,"at":1}', "bad-id", id="empty user"),
        pytest.param(b'{"user":"a\\u0000","n":1,"at":1}', "bad-id", id="NUL"),
        pytest.param(b'{"user":"a","n":true,"at":1}', "wrong-type", id="boolean n"),
        pytest.param(b'{"user":"a","n":-1,"at":1}', "out-of-range", id="negative n"),
        pytest.param(b'{"user":"a","n":1,"at":1,"changes":{}}', "wrong-type", id="changes object"),
        pytest.param(b'{"user":"a","n":1,"at":1,"changes":[1]}', "wrong-type", id="number change"),
        pytest.param(
            b'{"user":"a","n":1,"at":1,"changes":[{"change":"x"}]}', "unknown-change", id="x"
        ),
        pytest.param(b'{"marker":"x","n":1}', "unknown-marker", id="marker"),
        pytest.param(b'{"marker":"activate","n":1,"segments":[1]}', "wrong-type", id="bad marker"),
    ],
)
def test_odd_messages_are_named(raw: bytes | None, reason: str) -> None:
    with pytest.raises(BadMessage) as caught:
        decode_membership(raw)
    assert caught.value.reason == reason


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["user", "n", "at", "changes", "marker", "segments", "change", "measures"]
                ),
                inner,
            )
        ),
    )
)
def test_no_json_breaks_the_reader(value: object) -> None:
    try:
        raw = orjson.dumps(value)
    except TypeError:  # beyond 64 bits
        return
    with contextlib.suppress(BadMessage):
        decode_membership(raw)


def test_other_messages_survive_the_way() -> None:
    member = SegmentMember(segment="vip", user="a/b", version=2, member=True, since=5, n=7)
    assert decode_segment(encode_segment(member)) == member
    assert member.key == "vip/a/b"
    conforms("segmentMember", encode_segment(member))
    plan = NewPlan("ab" * 32)
    assert decode_control(encode_control(plan)) == plan
    conforms("newPlan", encode_control(plan))
    named = Corrections(7)
    assert decode_control(encode_control(named)) == named
    conforms("corrections", encode_control(named))
    assert decode_control('{"kind":"forget","user":"a"}') == Reserved("forget")
    letter = DeadLetter(raw=b"\xff", reason="not-json", topic=EVENTS, partition=3, offset=9)
    assert decode_dead_letter(letter.raw, letter.headers) == letter


def test_headers_are_cloud_events() -> None:
    assert dict(cloud_event("headrace.memberships", "x")) == {
        "ce_specversion": b"1.0", "ce_id": b"x", "ce_source": b"headrace",
        "ce_type": b"headrace.memberships", "content-type": b"application/json",
    }  # fmt: skip


def test_an_accepted_event_keeps_every_digit() -> None:
    event = AcceptedEvent(
        event_id="e1", user_id="ann", sent_id="anon", type="purchase", ts=5,
        properties='{"amount":0.10000000000000000001}', n=7, at=9,
    )  # fmt: skip
    raw = encode_accepted(event)
    assert b'"properties":{"amount":0.10000000000000000001}' in raw
    jsonschema.validate(orjson.loads(raw), SCHEMAS["acceptedEvent"])
    assert event.identity == "4:anon/e1"
    ends = [("a/b", "c"), ("a", "b/c"), ("a", "/b/c")]
    assert len({replace(event, sent_id=u, event_id=e).identity for u, e in ends}) == 3


def test_topics() -> None:
    assert len({row.name for row in TOPICS}) == len(TOPICS) == 7
    assert topic(SEGMENTS).compacted and not topic(MEMBERSHIPS).compacted
    assert topic(EVENTS).named("acme.") == in_namespace("acme.", EVENTS) == "acme.events.v1"
    assert topic(EVENTS).named("") == EVENTS


def test_the_committed_document_is_the_printed_one() -> None:
    assert DOCUMENT.read_text() == asyncapi(), "print headrace.messages.asyncapi.asyncapi() anew"


def test_every_reference_of_the_document_resolves() -> None:
    document = yaml.safe_load(asyncapi())

    def follow(value: object) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                place: object = document
                for step in str(value["$ref"]).removeprefix("#/").split("/"):
                    assert isinstance(place, dict) and step in place, value["$ref"]
                    place = place[step]
            for part in value.values():
                follow(part)
        elif isinstance(value, list):
            for part in value:
                follow(part)

    follow(document)
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
