"""Suites of Great Expectations, and what they make of tables. The one place that knows it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from headrace.errors import OperatorError

SHOWN = 20  # rows of a finding; the table on the page has the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one expectation: of which suite, in words, and the rows that fail it.

    ``holds`` is the suite's word that the outputs of segments among the rows are to be held.
    """

    suite: str
    claim: str
    passed: bool
    observed: str = ""
    rows: tuple[Mapping[str, Any], ...] = ()
    holds: bool = False


def judge(folder: Path, tables: Mapping[str, pl.DataFrame]) -> list[Finding]:
    """Hold each suite ``folder/NAME.json`` against table NAME.

    Raises OperatorError for a suite without a table, or one that cannot be read.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise OperatorError(f"no suites of expectations in {folder}", code="HR950")
    for file in files:
        if file.stem not in tables:
            raise OperatorError(
                f"{file}: there is no table {file.stem!r} to judge; those are"
                f" {', '.join(sorted(tables))}",
                code="HR951",
            )
    return [finding for file in files for finding in _judged(file, tables[file.stem])]


def _judged(file: Path, table: pl.DataFrame) -> list[Finding]:
    # It measures its users unless told not to; and 5 s to import is for this job alone.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.exceptions import GreatExpectationsError

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        suite = gx.ExpectationSuite(name=file.stem, expectations=written["expectations"])
    except (ValueError, KeyError, TypeError, GreatExpectationsError) as error:
        raise OperatorError(f"{file} is no suite of expectations: {error}", code="HR952") from error
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas(file.stem).add_dataframe_asset(file.stem)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(
        {"dataframe": table.to_pandas()}
    )
    # Texts say which row it is: a segment, a reason, a type and its property.
    names = [name for name, kind in table.schema.items() if kind == pl.String]
    result = batch.validate(
        suite, result_format={"result_format": "COMPLETE", "unexpected_index_column_names": names}
    )
    return [_finding(file.stem, one.to_json_dict()) for one in result.results]


def _finding(suite: str, told: Mapping[str, Any]) -> Finding:
    asked, result = told["expectation_config"], told["result"]
    trouble = told["exception_info"].get("exception_message")
    failing = result.get("unexpected_index_list") or []
    observed = result.get("observed_value", "")
    return Finding(
        suite=suite,
        claim=asked["meta"].get("claim") or f"{asked['type']} {asked['kwargs']}",
        passed=told["success"],
        observed=str(trouble or observed),
        rows=tuple(failing),
        holds=bool(asked["meta"].get("holds")),
    )
