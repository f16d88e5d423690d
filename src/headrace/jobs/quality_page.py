"""The verdict on data quality as one page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from headrace.clock import Instant, format_instant
from headrace.jobs.expectations import SHOWN, Finding

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 2rem }
td, th { border-bottom: 1px solid #ddd; padding: .2rem .8rem .2rem 0; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.failed { color: #b00020; font-weight: 600 } .passed { color: #1b6e3c }
"""


def page(
    findings: Sequence[Finding],
    tables: Mapping[str, pl.DataFrame],
    *,
    at: Instant,
    versions: Mapping[str, int],
    held: Iterable[str],
) -> str:
    """Every claim with what fails it, then what was measured."""
    failed = sum(not finding.passed for finding in findings)
    verdict = f"{failed} of {len(findings)} claims do not hold" if failed else "All claims hold"
    pinned = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>Data quality, {format_instant(at)}</title><style>{STYLE}</style>",
        f"<h1>{verdict}</h1>",
        f"<p>As of {format_instant(at)}; versions of the tables: {escape(pinned)}.</p>",
    ]
    if names := sorted(held):
        parts.append(
            f"<p class=failed>Outputs held: {escape(', '.join(names))}. Memberships are not."
            " <code>headrace quality release SEGMENT</code> lets them go.</p>"
        )
    for finding in findings:
        parts.append(_claim(finding))
    for name, table in tables.items():
        parts.append(f"<h2>{escape(name)}</h2>{_table(table.to_dicts())}")
    return "\n".join(parts)


def _claim(finding: Finding) -> str:
    word = "passed" if finding.passed else "failed"
    text = f"<p class={word}>{word}: {escape(finding.claim)} <small>({finding.suite})</small></p>"
    if finding.observed:
        text += f"<p>{escape(finding.observed)}</p>"
    if len(finding.rows) > SHOWN:
        text += f"<p>{len(finding.rows)} rows, of which the first {SHOWN}:</p>"
    return text + (_table(finding.rows[:SHOWN]) if finding.rows else "")


def _table(rows: Sequence[Mapping[Any, Any]]) -> str:
    if not rows:
        return "<p>nothing</p>"
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not math.isnan(value):
        return f"<td class=number>{value:,.0f}</td>" if value % 1 == 0 else _share(value)
    return f"<td>{escape(value) if isinstance(value, str) else ''}</td>"


def _share(value: float) -> str:
    return f"<td class=number>{value:,.3g}</td>"
