"""Lists of users from files: what is read, and what is sent."""

from __future__ import annotations

import pytest

from headrace.errors import OperatorError
from headrace.jobs.lists import Row, csv_rows, json_rows

LONG = "x" * 300


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        pytest.param(b"ann\nben\n", [(1, "ann", ""), (2, "ben", "")], id="one column, no head"),
        pytest.param(b"user_id\nann\n", [(2, "ann", "")], id="one column with its head"),
        pytest.param(
            b"name,user_id\nAnn,a-1\nBen,b-2\n", [(2, "a-1", ""), (3, "b-2", "")], id="of several"
        ),
        pytest.param(b"\xef\xbb\xbfuser_id\r\nann\r\n", [(2, "ann", "")], id="as Excel writes it"),
        pytest.param(b'"a,b"\n"c ""d"""\n', [(1, "a,b", ""), (2, 'c "d"', "")], id="quotes"),
        pytest.param(b"ann\n\n  \nben", [(1, "ann", ""), (4, "ben", "")], id="blank lines"),
        pytest.param(
            b"n,user_id\n1,ann\n2\n3,\n", [(2, "ann", ""), (3, None, "no-id"), (4, None, "no-id")],
            id="lines that name nobody",
        ),
        pytest.param(
            b"ann\n\xff\n" + LONG.encode() + b"\na\0b\n" + b"y" * 5_000 + b"\nben\n",
            [
                (1, "ann", ""), (2, None, "invalid-utf8"), (3, None, "bad-id"),
                (4, None, "nul-character"), (5, None, "not-csv"), (6, "ben", ""),
            ],
            id="lines that are none",
        ),
        pytest.param(b"", [], id="nothing"),
    ],
)  # fmt: skip
def test_csv(text: bytes, rows: list[Row]) -> None:
    assert list(csv_rows(text.splitlines(keepends=True), "user_id")) == rows


def test_json_lines() -> None:
    lines = [
        b'{"user_id": "ann"}\n', b'"ben"\n', b"\n", b'{"user_id": 7}\n', b"{\n", b"[]\n",
        b'{"user_id": ""}\n',
    ]  # fmt: skip
    assert list(json_rows(lines, "user_id")) == [
        (1, "ann", ""), (2, "ben", ""), (4, None, "no-id"), (5, None, "not-json"),
        (6, None, "no-id"), (7, None, "no-id"),
    ]  # fmt: skip


def test_a_column_that_is_not_there_is_told() -> None:
    with pytest.raises(OperatorError, match="no column 'user_id'; the first line has 'a', 'b'"):
        list(csv_rows([b"a,b\n", b"1,2\n"], "user_id"))
