"""Fixes of rejected messages: what they do, and what is said of those that are none."""

from __future__ import annotations

import orjson
import pytest

from headrace.errors import RuleError
from headrace.rules.fixes import Unfixable, parse_fix

HEAD = "apiVersion: headrace/v1\nkind: Fix\n"


@pytest.mark.parametrize(
    ("steps", "before", "after"),
    [
        pytest.param("rename: {usr: user_id}", {"usr": "a"}, {"user_id": "a"}, id="rename"),
        pytest.param("rename: {usr: user_id}", {"a": 1}, {"a": 1}, id="nothing there"),
        pytest.param(
            "rename: {price: properties.amount}",
            {"price": 5, "properties": {"sku": "x"}},
            {"properties": {"sku": "x", "amount": 5}},
            id="into an object",
        ),
        pytest.param("convert: {ts: seconds}", {"ts": 1.5}, {"ts": 1500}, id="seconds"),
        pytest.param("convert: {p.a: number}", {"p": {"a": "9.5"}}, {"p": {"a": 9.5}}, id="number"),
        pytest.param("convert: {n: integer}", {"n": "7"}, {"n": 7}, id="integer"),
        pytest.param("convert: {n: boolean}", {"n": "No"}, {"n": False}, id="boolean"),
        pytest.param("convert: {n: text}", {"n": 7}, {"n": "7"}, id="text"),
        pytest.param("convert: {n: text}", {"n": None}, {"n": None}, id="null stays"),
        pytest.param("set: {c: E, d: 1.5, e: true}", {}, {"c": "E", "d": 1.5, "e": True}, id="set"),
        pytest.param("default: {c: EUR, d: 2}", {"c": "USD"}, {"c": "USD", "d": 2}, id="default"),
        pytest.param("remove: [a.b, c]", {"a": {"b": 1}, "c": 2}, {"a": {}}, id="remove"),
        pytest.param(
            "rename: {t: ts}\nconvert: {ts: integer}\nset: {x: 1}\nremove: x",
            {"t": "5"},
            {"ts": 5},
            id="in order",
        ),
    ],
)  # fmt: skip
def test_what_a_fix_does(steps: str, before: object, after: object) -> None:
    fix = parse_fix(HEAD + steps)
    done = fix.applied(orjson.dumps(before))
    assert orjson.loads(done) == after
    assert fix.applied(orjson.dumps(before)) == done


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(b"\xff\xfe", "not JSON", id="no text"),
        pytest.param(b"[1]", "not an object", id="a list"),
        pytest.param(b'{"n": "many"}', "n is no number", id="no number"),
        pytest.param(b'{"n": "nan"}', "n is no number", id="not a number"),
        pytest.param(b'{"n": {}}', "n is no number", id="an object"),
        pytest.param(b'{"p": 5}', "p is not an object", id="a number where an object goes"),
    ],
)
def test_what_cannot_be_repaired(raw: bytes, why: str) -> None:
    with pytest.raises(Unfixable, match=why):
        parse_fix(HEAD + "convert: {n: number}\nset: {p.q: 1}").applied(raw)


def test_a_fix_concerns_the_reasons_it_names() -> None:
    fix = parse_fix(HEAD + "where: {reason: [bad-ts, missing-ts]}\nset: {ts: 1}")
    assert [fix.concerns(reason) for reason in ("bad-ts", "not-json")] == [True, False]
    assert parse_fix(HEAD + "where: {reason: bad-ts}\nset: {ts: 1}").concerns("bad-ts")
    assert parse_fix(HEAD + "set: {ts: 1}").concerns("not-json")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "a fix needs one of the keys rename, convert", id="says nothing"),
        pytest.param("renmae: {a: b}", "unknown key 'renmae' in a fix", id="a key misspelt"),
        pytest.param("convert: {ts: secnds}", "did you mean 'seconds'", id="a kind misspelt"),
        pytest.param("convert: {ts: [a]}", "'ts' cannot be converted to a list", id="no kind"),
        pytest.param("set: {a..b: 1}", "'a..b' is no path of keys", id="no path"),
        pytest.param("rename: {a: b.}", "'b.' is no path of keys", id="no new path"),
        pytest.param("set: {a: [1]}", "the value of 'a' must be a text, a number", id="a list"),
        pytest.param(
            "where: {topic: x}\nset: {a: 1}", "unknown key 'topic' in 'where'", id="where"
        ),
        pytest.param("set: {a: 1}\nset: {a: 2}", "duplicate key 'set'", id="twice"),
    ],
)
def test_what_is_said_of_a_fix_that_is_none(text: str, problem: str) -> None:
    with pytest.raises(RuleError) as refused:
        parse_fix(HEAD + text, "fix.yaml")
    assert problem in str(refused.value)
    assert all(one.place.file == "fix.yaml" and one.place.line for one in refused.value.problems)
