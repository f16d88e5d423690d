"""``headrace doctor`` names what is missing and how to get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.cli import main
from headrace.cli.doctor import CHECKS, examine
from headrace.embedded.jars import locked
from headrace.settings import Settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "local.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def java(folder: Path, says: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    return folder


def test_java_comes_first() -> None:
    assert next(examine(Settings())).name == "java"


@pytest.mark.parametrize(
    ("says", "found"),
    [
        pytest.param("echo 'openjdk version \"17.0.15\"' >&2", "Java 17", id="17"),
        pytest.param("echo 'openjdk version \"21\" 2023-09-19' >&2", "Java 21", id="21"),
        pytest.param("echo 'java version \"1.8.0_402\"' >&2", "Java 8", id="old scheme"),
        pytest.param("echo 'openjdk version \"11.0.2\"' >&2", "Java 11", id="11"),
        pytest.param("exit 1", "does not say its version", id="broken"),
        pytest.param(None, "JAVA_HOME is", id="absent"),
    ],
)
def test_java_of_java_home_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str | None, found: str
) -> None:
    home = java(tmp_path / "jdk", says) if says is not None else tmp_path / "nowhere"
    monkeypatch.setenv("JAVA_HOME", str(home))
    finding = next(examine(Settings()))
    assert found in finding.found
    assert finding.is_good == (found in ("Java 17", "Java 21"))
    assert "apt install openjdk-17-jre-headless" in finding.advice
    assert "brew install openjdk@17" in finding.advice


def test_no_java_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = {finding.name: finding for finding in examine(Settings(home=tmp_path))}
    assert not findings["java"].is_good
    assert not findings["make"].is_good
    assert findings["redis"].is_good  # the wheel has one


def test_missing_and_tampered_jars_are_told_apart(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE_DIR", str(project / "cache"))
    assert main(["doctor", "--output", "json"]) == 1
    (jars,) = [row for row in json.loads(capsys.readouterr().out) if row["name"] == "jars"]
    assert f"{len(locked())} not in" in jars["found"]
    (project / "cache" / "jars").mkdir(parents=True)
    for jar in locked():
        (project / "cache" / "jars" / jar.file_name).write_bytes(b"no jar")
    assert main(["doctor", "--output", "json"]) == 1
    (jars,) = [row for row in json.loads(capsys.readouterr().out) if row["name"] == "jars"]
    assert "is not the jar in jars.lock" in jars["found"]


def test_a_line_for_every_check_and_advice_for_the_missing(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(project))
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("ok", "missing")) for line in lines) == len(CHECKS)
    assert lines[0].startswith("missing java")
    assert "apt install" in lines[1]
