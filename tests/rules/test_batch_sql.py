"""SQL in batch: what it may be made of, and that nothing else of a text ever gets through."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from headrace.clock import parse_instant
from headrace.errors import InternalError, Problem, RuleError
from headrace.plan.build import SegmentVersion, batch_plan, build_plan
from headrace.plan.model import JobParameters
from headrace.plan.registry import MemoryRegistry
from headrace.rules.folder import load_rules
from headrace.rules.reference import reference_members
from headrace.rules.schema import segment_schema
from headrace.rules.sql import print_sql
from headrace.rules.sql.batch import bound_sql, read_batch_sql
from headrace.rules.sql.batch_allowed import NODES, VIEWS
from headrace.rules.sql.draft import Draft
from headrace.rules.yaml import canonical, parse_segment, print_segment, read_segment
from rule_folders import write_rules


def refusals(text: str) -> list[Problem]:
    draft = Draft("<sql>", text)
    read_batch_sql(draft)
    return draft.problems


def written(text: str) -> str:
    draft = Draft("x", text)
    found = read_batch_sql(draft)
    assert not draft.problems, draft.problems
    return found


def flat(text: str) -> str:
    return " ".join(text.split()).replace("`", "").replace("( ", "(").replace(" )", ")")


def term(condition: str) -> str:
    return f"SELECT user_id FROM events WHERE {condition}"


ALLOWED = [
    "SELECT user_id FROM events",
    "SELECT DISTINCT user_id FROM profiles",
    "SELECT USER_ID FROM Events",
    "SELECT e.user_id FROM events e",
    "SELECT e.user_id FROM events AS e JOIN profiles p ON e.user_id = p.user_id",
    "SELECT e.user_id FROM events e LEFT OUTER JOIN profiles p"
    " ON p.user_id = e.user_id AND p.first_seen < e.ts",
    "SELECT user_id FROM events INNER JOIN profiles USING (user_id)",
    "SELECT user_id FROM (SELECT user_id, count(*) n FROM events GROUP BY user_id) x WHERE n > 1",
    "WITH a AS (SELECT user_id FROM events), b AS (SELECT a.user_id FROM a JOIN profiles p"
    " ON a.user_id = p.user_id) SELECT user_id FROM b",
    "SELECT user_id FROM events GROUP BY user_id HAVING sum(1) > 3 AND avg(2) < 3"
    " AND min(ts) < max(ts) AND count(DISTINCT type) = 2 AND percentile_approx(3, 0.5, 100) > 1",
    *(
        f"SELECT user_id FROM (SELECT user_id, {function} OVER (PARTITION BY user_id ORDER BY ts"
        " DESC ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS v FROM events) x WHERE v IS NOT NULL"
        for function in (
            "row_number()", "rank()", "lag(ts)", "lead(ts, 2)", "sum(1)", "count(*)", "avg(1)",
        )
    ),
    term("type = 'a' AND NOT (type <> 'b' OR type IN ('c', 'd')) AND ts BETWEEN now() AND now()"),
    term("type IS NULL OR type IS NOT NULL OR event_id <=> NULL OR event_id IS DISTINCT FROM 'x'"),
    term("CASE WHEN type = 'a' THEN 1 ELSE 2 END = 1 AND IF(type = 'a', TRUE, FALSE)"),
    term("ts > current_timestamp() - INTERVAL 30 DAYS AND date_trunc('month', ts) < now()"),
    term("datediff(now(), ts) < 3 AND ts >= TIMESTAMP '2026-01-01 00:00:00'"),
    term("ts < DATE '2027-01-01'"),
    term("lower(upper(trim(type))) = substr(concat(type, 'x'), 1, length(type))"),
    term("type LIKE 'a%' OR type LIKE '%a' OR type LIKE '%a%'"),
    term("type LIKE 'a_b' OR type LIKE 'a%b' OR type NOT LIKE '_%'"),
    term("coalesce(CAST(get_json_object(properties, '$.a[0].b') AS DECIMAL(10, 2)), 0) > 1.5"),
    term("CAST(1 AS STRING) = '1' AND CAST('1' AS BIGINT) + 2 * 3 / 4 % 5 - -1 > 0"),
    term(r"get_json_object(properties, '$.name') = 'it\'s' AND type = 'Straße'"),
    term(r"type = '\' OR TRUE -- ' OR type = ' /* '"),
]  # fmt: skip


@pytest.mark.parametrize("text", ALLOWED)
def test_what_is_allowed_is_written_anew_and_reads_back_the_same(text: str) -> None:
    found = written(text)
    assert written(found) == found
    assert "now" not in bound_sql(found, 0).lower()


def test_comments_and_looks_are_gone() -> None:
    text = "select user_id -- who\n from /* + BROADCAST */ events /*+ hint */ where type='a'"
    assert flat(written(text)) == "SELECT user_id FROM events WHERE type = 'a'"


def test_now_is_an_instant_when_it_runs() -> None:
    text = bound_sql(written(term("ts > now()")), parse_instant("2026-01-31T09:00:00Z"))
    assert flat(text).endswith("WHERE ts > CAST('2026-01-31T09:00:00Z' AS TIMESTAMP)")


def test_only_checked_text_is_bound() -> None:
    with pytest.raises(RuleError, match="HR413"):
        bound_sql("SELECT reflect('a', 'b') FROM events", 0)


# Where, which code, what is told; the caret is the column.
REFUSED = [
    ("SELECT user_id FROM event", 21, "HR414", "unknown table 'event'"),
    ("SELECT user_id FROM parquet.`/etc/passwd`", 21, "HR414", "a path or database"),
    ("SELECT user_id FROM a.b.events", None, "HR414", "a "),
    (term("usr = 'a'"), 34, "HR415", "unknown column 'usr'"),
    (term("e.type = 'a'"), 34, "HR415", "unknown table 'e'"),
    (term("traits = 'a'"), 34, "HR415", "unknown column 'traits'"),
    (term("current_user = 'a'"), None, "HR413", "current_user()"),
    (term("input_file_name() = 'a'"), 34, "HR413", "input_file_name"),
    (term("reflect('a', 'b') = 'a'"), 34, "HR413", "reflect"),
    (term("user_id IN (SELECT user_id FROM profiles)"), 53, "HR412", "a statement after IN"),
    (term("type RLIKE '(a+)+'"), 34, "HR413", "is not part of SQL in batch"),
    (term("type LIKE '%a%b%'"), 34, "HR412", "LIKE"),
    (term("type LIKE properties"), 34, "HR412", "LIKE"),
    (term("CAST(type AS ARRAY<INT>) = 1"), None, "HR416", "not a plain type"),
    ("SELECT 1 AS user_id FROM events", 8, "HR418", "user_id is the user's id"),
    ("SELECT type FROM events", 1, "HR418", "gives user_id alone"),
    ("SELECT * FROM events", None, "HR415", "* stands for no columns"),
    ("SELECT user_id FROM events e CROSS JOIN profiles p", None, "HR417", "CROSS"),
    ("SELECT e.user_id FROM events e JOIN profiles p ON e.user_id > p.user_id", None, "HR417", ""),
    ("SELECT e.user_id FROM events e JOIN profiles p ON TRUE", None, "HR417", "different users"),
    ("SELECT user_id FROM events; DROP TABLE x", 27, "HR412", "a second statement"),
    ('SELECT user_id FROM events WHERE type = "a"', 41, "HR402", "double quotes"),
]


@pytest.mark.parametrize(("text", "column", "code", "message"), REFUSED)
def test_a_refusal_names_what_and_where(
    text: str, column: int | None, code: str, message: str
) -> None:
    problem = refusals(text)[0]
    assert problem.code.startswith(code), problem
    assert message in problem.message
    if column is not None:
        assert (problem.place.line, problem.place.column) == (1, column), problem


HOSTILE = [
    "", ";", "--", "/*", "SELECT", "SELECT user_id", "SELECT user_id FROM", "SET a = b",
    "SET spark.sql.ansi.enabled = false", "RESET", "USE x", "SHOW TABLES", "DESCRIBE events",
    "DROP TABLE events", "CREATE TABLE x AS SELECT user_id FROM events", "CACHE TABLE events",
    "INSERT INTO x SELECT user_id FROM events", "ADD JAR 'x.jar'", "LIST JARS", "EXPLAIN SELECT 1",
    "CREATE TEMPORARY FUNCTION f AS 'x.Y'", "REFRESH TABLE x", "DELETE FROM events",
    "MERGE INTO events USING x ON TRUE WHEN MATCHED THEN DELETE", "TABLE events", "VALUES (1)",
    "FROM events INSERT OVERWRITE DIRECTORY '/tmp/x' SELECT user_id",
    "SELECT user_id FROM delta.`/data`", "SELECT user_id FROM parquet.`/data`",
    "SELECT user_id FROM text.`/etc/passwd`", "SELECT user_id FROM json.`file:///x`",
    "SELECT user_id FROM `parquet`.`/x`", "SELECT user_id FROM `/etc/passwd`",
    "SELECT user_id FROM range(10)", "SELECT user_id FROM read_files('/x')",
    "SELECT user_id FROM events VERSION AS OF 1", "SELECT user_id FROM events@v1",
    "SELECT user_id FROM events TABLESAMPLE (10 ROWS)", "SELECT user_id FROM events, profiles",
    "SELECT user_id FROM events NATURAL JOIN profiles", "SELECT user_id FROM events FOR UPDATE",
    "SELECT e.user_id FROM events e FULL OUTER JOIN profiles p ON e.user_id = p.user_id",
    "SELECT e.user_id FROM events e RIGHT JOIN profiles p ON e.user_id = p.user_id",
    "SELECT e.user_id FROM events e JOIN profiles p ON e.user_id = p.user_id OR TRUE",
    "SELECT e.user_id FROM events e JOIN profiles p ON e.user_id = e.user_id",
    "SELECT e.user_id FROM events e JOIN profiles p USING (first_seen)",
    "SELECT e.user_id FROM events e JOIN LATERAL (SELECT user_id FROM profiles) p ON TRUE",
    "WITH a AS (SELECT 'x' AS user_id FROM events) SELECT user_id FROM a",
    "WITH a AS (SELECT type AS user_id FROM events) SELECT user_id FROM a",
    "WITH RECURSIVE a AS (SELECT user_id FROM a) SELECT user_id FROM a",
    "WITH events AS (SELECT user_id FROM profiles) SELECT user_id FROM events",
    "WITH a(user_id) AS (SELECT type FROM events) SELECT user_id FROM a",
    "WITH a AS (SELECT user_id FROM b), b AS (SELECT user_id FROM events) SELECT user_id FROM a",
    "WITH a AS (WITH b AS (SELECT user_id FROM events) SELECT user_id FROM b)"
    " SELECT user_id FROM a",
    "SELECT user_id FROM (SELECT user_id FROM events)",
    "SELECT user_id FROM events UNION SELECT user_id FROM profiles",
    "SELECT user_id FROM events EXCEPT SELECT user_id FROM profiles",
    "SELECT user_id FROM events ORDER BY ts", "SELECT user_id FROM events LIMIT 1",
    "SELECT user_id FROM events LATERAL VIEW explode(properties) t AS x",
    "SELECT TRANSFORM(user_id) USING 'cat' FROM events", "SELECT explode(user_id) FROM events",
    "SELECT MAP(user_id) USING 'cat' FROM events",
    "SELECT /*+ REPARTITION(9) */ user_id FROM events",
    "SELECT user_id FROM events GROUP BY user_id WITH CUBE",
    "SELECT user_id FROM events GROUP BY ALL",
    "SELECT DISTINCT ON (type) user_id FROM events",
    "SELECT user_id FROM events CLUSTER BY user_id",
    "SELECT user_id FROM events QUALIFY row_number() OVER (ORDER BY ts) = 1",
    "SELECT user_id FROM events WINDOW w AS (ORDER BY ts)", "SELECT user_id, type FROM events",
    "SELECT user_id FROM events PIVOT (count(*) FOR type IN ('a'))",
    "SELECT ${user_id} FROM events",
    "SELECT IDENTIFIER('user_id') FROM events", "SELECT user_id FROM IDENTIFIER('events')",
    "FROM events |> SELECT user_id", "SELECT user_id FROM events WHERE type = 'a' 'b'",
    "SELECT user_id FROM events WHERE type = 'it''s'", "SELECT user_id FROM events e, LATERAL x",
    "SELECT u\u0455er_id FROM events", "SELECT user_id\u202e FROM events", "\ufeffSELECT 1",
    "SELECT user_id FROM events WHERE type = '\x00'", "SELECT `user_id``x` FROM events",
    "BEGIN DROP TABLE x; END", "EXECUTE IMMEDIATE 'DROP TABLE x'", "CALL x()", "KILL 1",
    *map(term, (
        "java_method('java.lang.Runtime', 'getRuntime') = ''", "reflect('a', 'b') = ''",
        "try_reflect('a', 'b') = ''", "repeat('a', 1000000000) = ''", "size(sequence(1, 9)) = 1",
        "explode(array(1)) = 1", "my_udf(type) = 1", "default.my_udf(type) = 1", "type REGEXP 'a'",
        "regexp_replace(type, '(a+)+$', '') = ''", "regexp_like(type, 'a')", "type ILIKE 'a'",
        "type LIKE '%a%a%a%'", "type LIKE 'a' ESCAPE 'b'", "type LIKE ALL ('a', 'b')", "rand() > 0",
        "uuid() = ''", "current_user() = ''", "session_user = ''", "version() = ''", "user = ''",
        "current_catalog() = ''", "spark_partition_id() = 0", "monotonically_increasing_id() = 0",
        "rpad('a', 1000000000) = ''", "space(1000000000) = ''", "array_repeat(1, 9) = 1",
        "aes_decrypt(type, 'k') = ''", "secret('a', 'b') = ''", "from_json(type, 'a INT') = 1",
        "xpath_string(type, '/a') = ''", "schema_of_json(type) = ''", "assert_true(FALSE)",
        "raise_error('x')", "java_method", "type = '${env:HOME}'", "type = '${spark.app.id}'",
        r"type = 'a\\'", r"type = '\\' OR TRUE -- '", "type = x'41'", "type = r'a'", "type = :x",
        "type = ?", "type = @x", "type = 1e999999", "type[0] = 1", "properties.a = 1",
        "properties:a = 1", "transform(array(1), x -> x) = 1", "ai_query('m', type) = ''",
        "get_json_object(properties, type) = ''", "get_json_object(properties, '$..a') = ''",
        "get_json_object(properties, '$.a[*]') = ''", "EXISTS (SELECT user_id FROM profiles)",
        "(SELECT max(ts) FROM events) = ts", "type = ANY (SELECT type FROM events)",
        "INTERVAL '1' EON < ts", "CAST(type AS BINARY) = 1", "CAST(type AS INTERVAL DAY) = 1",
        "CAST(type AS STRUCT<a: INT>) = 1", "CAST(type AS VARIANT) = 1",
        "sum(1) FILTER (WHERE TRUE) = 1",
        "count(*) OVER w = 1", "max(ts) OVER (ORDER BY ts) = ts", "row_number() = 1", "ts > now(1)",
        "lag(ts) IGNORE NULLS OVER (ORDER BY ts) = ts", "percentile_approx(1, array(0.1)) = 1",
        "percentile_approx(1) = 1", "lower() = ''",
        "concat(" + "type, " * 16 + "type) = ''", "trim(BOTH 'x' FROM type) = ''", "type DIV 2 = 1",
        "type COLLATE UNICODE = 'a'", "~1 = 1", "1 & 1 = 1", "type = 'a' ; SELECT 1",
    )),
    term("(" * 2_000 + "1" + ")" * 2_000 + " = 1"),
    term("1" + " + 1" * 2_400 + " = 1"),
    term("NOT " * 4_500 + "TRUE"),
    term("- " * 4_500 + "1 = 1"),
    term("CASE WHEN TRUE THEN " * 100 + "1" + " END" * 100 + " = 1"),
    term("type IN (" + "'a', " * 50_000 + "'a')"),
    term("type = '" + "a" * 40_000 + "'"),
    "SELECT a.user_id FROM events a" + "".join(
        f" JOIN events b{n} ON b{n}.user_id = a.user_id" for n in range(4)
    ),
    "WITH a0 AS (SELECT user_id FROM events)" + "".join(
        f", a{n + 1} AS (SELECT x.user_id FROM a{n} x JOIN a{n} y ON x.user_id = y.user_id)"
        for n in range(3)
    ) + " SELECT user_id FROM a3",
    "WITH a0 AS (SELECT user_id, type t FROM events)" + "".join(
        f", a{n + 1} AS (SELECT user_id, concat(t, t) t FROM a{n})" for n in range(30)
    ) + " SELECT user_id FROM a30",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_texts_are_refused_with_a_code_and_a_place(number: int) -> None:
    found = refusals(HOSTILE[number])
    assert found, HOSTILE[number][:100]
    assert all(re.fullmatch(r"HR4\d\d", problem.code) for problem in found)
    assert all(problem.place.line >= 1 and problem.place.column >= 1 for problem in found)


SOME = """
    SELECT user_id FROM events profiles WHERE type = 'a' AND OR NOT ( ) , JOIN ON USING LEFT e p
    e.user_id p.user_id GROUP BY HAVING count(*) > 1 ts now() - INTERVAL 1 DAY CASE WHEN THEN END
    WITH AS UNION OVER ( PARTITION ORDER LIKE '%a' IN NULL IS CAST get_json_object(properties,
    '$.a') reflect parquet.`/x` ; -- /* */ ` ' \\ ${x} /*+ x */ EXISTS LATERAL VIEW explode *
"""
WORDS = st.sampled_from(SOME.split())


@given(st.lists(WORDS, max_size=25))
def test_any_words_are_refused_or_read_back_the_same(words: list[str]) -> None:
    hold(" ".join(["SELECT user_id FROM events", *words]))


@given(st.sampled_from(ALLOWED), st.data())
def test_any_damage_is_refused_or_reads_back_the_same(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 12))
    put = data.draw(st.one_of(WORDS, st.text("'`\\(), ;-*/%$.:@\"\n\té", max_size=5)))
    hold(text[:start] + put + text[start + gone :])


def hold(text: str) -> None:
    draft = Draft("x", text)
    found = read_batch_sql(draft)
    assert bool(found) != bool(draft.problems)
    if found:
        assert written(found) == found
        tree = sqlglot.parse_one(found, dialect="spark")
        assert {type(node) for node in tree.walk()} <= NODES.keys()
        own = {statement.alias for statement in tree.find_all(exp.CTE)}
        tables = {table.sql("spark", identify=False) for table in tree.find_all(exp.Table)}
        assert {table.partition(" AS ")[0].strip("`") for table in tables} <= {*VIEWS, *own}


HEAD = "apiVersion: headrace/v1\nkind: Segment\nmetadata: {id: x}\nspec:\n"


def problems(spec: str) -> tuple[Problem, ...]:
    return read_segment(HEAD + spec, "x.yaml").problems


def test_a_segment_holds_the_text_written_anew_and_reads_back() -> None:
    text = f"{HEAD}  refresh: 0 3 * * 1\n  sql: |\n    select user_id\n    from events -- all\n"
    segment = parse_segment(text)
    assert segment.sql == "SELECT\n  `user_id`\nFROM `events`"
    assert segment.is_batch_only
    printed = print_segment(segment)
    assert "  sql: |-\n    SELECT\n      `user_id`\n    FROM `events`\n" in printed
    assert parse_segment(printed) == parse_segment(canonical(segment)) == segment
    with pytest.raises(RuleError, match="HR419"):
        print_sql(segment)
    for text in ALLOWED:
        one = parse_segment(f"{HEAD}  refresh: 0 3 * * 1\n  sql: |\n    {text}\n")
        assert parse_segment(print_segment(one)) == one


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        pytest.param("sql: |\n    SELECT user_id\n    FROM event\n", (7, 10), id="below a bar"),
        pytest.param("sql: SELECT user_id FROM event\n", (5, 28), id="on the line"),
        pytest.param("sql: 'SELECT user_id FROM event'\n", (5, 29), id="in quotes"),
        pytest.param(
            "sql: >\n    SELECT user_id\n    FROM event\n", (5, 8), id="folded: its start"
        ),
    ],
)
def test_a_place_in_a_statement_is_one_in_its_file(spec: str, place: tuple[int, int]) -> None:
    problem = problems(f"  {spec}  refresh: 0 3 * * *\n")[0]
    assert problem.code == "HR414"
    assert (problem.place.line, problem.place.column) == place


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ("", "needs a cron line"),
        ("  refresh: continuous\n", "needs a cron line"),
        ("  refresh: 0 3 * * *\n  match: {did: a}\n", "'match'"),
        ("  refresh: 0 3 * * *\n  stay: {min_dwell: 1 hour}\n", "'stay'"),
        ("  refresh: 0 3 * * *\n  timezone: UTC\n", "'timezone'"),
        ("  refresh: 0 3 * * *\ntests: []\n", "'tests'"),
    ],
)
def test_keys_that_do_not_fit_a_statement(beside: str, message: str) -> None:
    (problem,) = problems(f"  sql: SELECT user_id FROM events\n{beside}")
    assert problem.code == "HR419"
    assert message in problem.message


def test_the_schema_takes_a_statement_or_a_rule() -> None:
    validator = jsonschema.Draft202012Validator(segment_schema())
    head = {"apiVersion": "headrace/v1", "kind": "Segment", "metadata": {"id": "x"}}
    statement = {"sql": "SELECT user_id FROM events", "refresh": "0 3 * * *"}
    assert validator.is_valid({**head, "spec": statement})
    assert not validator.is_valid({**head, "spec": {"sql": "SELECT user_id FROM events"}})
    assert not validator.is_valid({**head, "spec": {**statement, "match": {"did": "a"}}})
    assert not validator.is_valid({**head, "spec": {}})


def test_nobody_takes_the_empty_condition_of_a_statement_for_everybody(tmp_path: Path) -> None:
    rules = write_rules(tmp_path, {"rich": "{did: purchase}"})
    text = f"{HEAD}  sql: SELECT user_id FROM events\n  refresh: 0 3 * * *\n"
    (rules / "segments" / "x.yaml").write_text(text)
    found = load_rules(rules).require()
    assert not found.warnings, "it means nothing that could be told to be always so"
    versions = [SegmentVersion(segment, 1) for segment in found.segments]
    with pytest.raises(InternalError, match="'x' is SQL in batch"):
        build_plan(versions, found.catalog, MemoryRegistry(), JobParameters())
    assert batch_plan(versions, found.catalog, JobParameters()).programs == ()
    line = b'{"event_id":"1","user_id":"a","type":"purchase","ts":1,"properties":{"amount":1}}'
    with pytest.raises(InternalError, match="'x' is SQL in batch"):
        reference_members([line], found.segments, found.catalog, 2)
    wrong = write_rules(tmp_path, {"of_x": "{segment: x}\n  refresh: 0 3 * * *"})
    (wrong / "segments" / "x.yaml").write_text(text)
    (problem,) = load_rules(wrong).errors
    assert (problem.code, problem.message) == (
        "HR309",
        "'of_x' refers to 'x', which is SQL in batch",
    )
    tests = tmp_path / "tests" / "x.yaml"
    tests.parent.mkdir()
    tests.write_text(
        "apiVersion: headrace/v1\nkind: RuleTest\nmetadata: {name: t}\ntests:\n"
        "  - {name: n, events: [{user: a, ts: 2026-01-01, type: purchase}],"
        " expect: [{segment: x, user: a, at: 2026-01-02, member: true}]}\n"
    )
    (wrong / "segments" / "of_x.yaml").unlink()
    assert [problem.code for problem in load_rules(wrong).errors] == ["HR419"]
