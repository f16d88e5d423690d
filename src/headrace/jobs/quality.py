"""Data quality: suites of expectations held against one version of the tables.

The verdict is a row in the progress table, a page, and metrics in a file that Prometheus's node
exporter reads (a job that has ended can serve none). A segment that fails an expectation which
holds outputs is held until a person releases it; its memberships go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from headrace.clock import SECOND
from headrace.jobs.expectations import Finding, judge
from headrace.jobs.quality_page import page
from headrace.jobs.runs import Note, run_once
from headrace.metrics import Metrics
from headrace.settings import Settings
from headrace.spark.quality import TABLES, Snapshot
from headrace.spark.session import open_session
from headrace.spark.start import newest_batch
from headrace.spark.tables import Lake
from headrace.store import Store

SEEN = timedelta(hours=1)  # a loss is in the figures for so long


def run(settings: Settings, *, suites: Path, run_id: str | None = None) -> int:
    """Judge the newest version of the tables by the suites in a folder; 1 if a claim fails."""
    return run_once(settings, "quality", run_id, lambda note: _check(settings, suites, note))


def _check(settings: Settings, suites: Path, note: Note) -> int:
    spark = open_session("headrace-quality")
    lake = Lake(settings.tables_root)
    newest = newest_batch(spark, lake)
    now = newest.header.now
    snapshot = Snapshot.of(spark, lake, plan=newest.plan, now=now)
    tables = {name: measure(snapshot) for name, measure in TABLES.items()}
    findings = judge(suites, tables)
    failed = [finding for finding in findings if not finding.passed]
    held = _hold(settings, failed)
    text = page(findings, tables, at=now, versions=snapshot.versions, held=held)
    file = _write(settings.home / "quality", f"{now}.html", text)
    _write(settings.home / "quality", "latest.html", text)
    _write(settings.home / "metrics", "quality.prom", _metrics(findings, held, now))
    note(
        {
            "now": now,
            "versions": dict(snapshot.versions),
            "claims": len(findings),
            "failed": [f"{finding.suite}: {finding.claim}" for finding in failed],
            "held": held,
            "page": str(file),
        }
    )
    _report(findings, held, file)
    return 1 if failed else 0


def _hold(settings: Settings, failed: Sequence[Finding]) -> list[str]:
    """Hold what the failed claims say; every segment that is held then."""
    store = Store(settings.postgres_url.get_secret_value(), settings.namespace)
    try:
        for finding in failed:
            for row in finding.rows if finding.holds else ():
                store.hold(row["segment"], f"{finding.claim}: {_words(row)}", seen=SEEN)
        return [hold.segment_id for hold in store.holds()]
    finally:
        store.close()


def _words(row: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value if isinstance(value, str) else format(value, '.3g')}"
        for name, value in row.items()
    )


def _metrics(findings: Sequence[Finding], held: Sequence[str], now: int) -> str:
    metrics = Metrics()
    metrics.set("headrace_quality_timestamp_seconds", now / SECOND)
    for suite in sorted({finding.suite for finding in findings}):
        failed = sum(finding.suite == suite and not finding.passed for finding in findings)
        metrics.set("headrace_quality_failed_claims", failed, suite=suite)
    for segment in held:
        metrics.set("headrace_segment_held", 1, segment=segment)
    return metrics.text().decode()


def _report(findings: Sequence[Finding], held: Sequence[str], file: Path) -> None:
    for finding in findings:
        print(f"{'passed' if finding.passed else 'FAILED'}: {finding.claim}")
        if finding.observed:
            print(f"  {finding.observed}")
        for row in finding.rows[:5]:
            print(f"  {_words(row)}")
    for segment in held:
        print(f"outputs of {segment} are held: `headrace quality release {segment}` lets them go")
    print(f"see {file}")


def _write(folder: Path, name: str, text: str) -> Path:
    """Write a file whole: whoever reads it meanwhile sees the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{name}.unfinished"
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.replace(folder / name)
