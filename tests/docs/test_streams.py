"""What docs/streams.md shows is a stream."""

from __future__ import annotations

import re
from pathlib import Path

from headrace.engine.mapping import Mapper
from headrace.rules.streams import parse_stream
from headrace.rules.streams.expressions import FORMS
from headrace.rules.streams.reading import SPEC

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "streams.md").read_text(encoding="utf-8")


def test_the_example_maps_an_order() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    order = (
        b'{"customer": {"id": 7}, "created_at": "2026-05-01T09:00:00Z", "number": 17,'
        b' "price": 9.99, "quantity": 2, "country": "Deutschland", "campaign": {"code": "MAY"}}'
    )
    event = Mapper(parse_stream(example)).mapped(order, partition=0, offset=0)
    assert event == (
        b'{"type":"purchase","user_id":"7","ts":"2026-05-01T09:00:00Z","event_id":"17",'
        b'"properties":{"amount":19.98,"country":"DE","coupon":"MAY"}}'
    )


def test_every_word_of_the_language_is_named() -> None:
    for word in (*FORMS, *SPEC):
        assert re.search(rf"`{word}`|`{{{word}:|, `{{{word}:", TEXT), word
