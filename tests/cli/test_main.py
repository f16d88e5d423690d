"""What holds for every command: exit codes, global options, quiet when not a terminal."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
import typer

from headrace import cli
from headrace.cli import GROUPS, main
from headrace.errors import OperatorError


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "local.toml").write_text("")
    (tmp_path / "conf" / "other.toml").write_text("api_port = 9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_registers_the_commands_it_is_listed_with(group: str) -> None:
    app = typer.Typer()
    import_module(f"headrace.cli.{group}").register(app)
    commands = {str(each.name or each.callback.__name__) for each in app.registered_commands}  # type: ignore[union-attr]
    groups = {str(each.name) for each in app.registered_groups}
    assert commands | groups == set(GROUPS[group])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["--version"], 0, id="well"),
        pytest.param(["--help"], 0, id="help"),
        pytest.param(["config"], 0, id="a bare group shows its help"),
        pytest.param(["config", "show"], 0, id="a command"),
        pytest.param(["frobnicate"], 1, id="no such command"),
        pytest.param(["config", "show", "--frob"], 1, id="no such option"),
        pytest.param(["config", "show", "--target", "nowhere"], 1, id="a refusal"),
    ],
)
def test_exit_codes(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    assert "Traceback" not in capsys.readouterr().err


def raising(error: BaseException) -> object:
    def load(*_: object, **__: object) -> object:
        raise error

    return load


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        pytest.param(OperatorError("the disk is full"), 1, "headrace: the disk is full [HR900]\n"),
        pytest.param(ZeroDivisionError("our mistake"), 2, "this is a fault of Headrace"),
        pytest.param(KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_sentences_and_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr("headrace.cli.invocation.load", raising(error))
    assert main(["config", "show"]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--target", "other", "config", "show", "--output", "json"],
        ["config", "show", "--output", "json", "--target", "other"],
        ["config", "--target=other", "show", "--output", "json"],
    ],
)
def test_global_options_are_taken_anywhere(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["api_port"] == "9"


def test_config_show_tells_origins_and_no_secrets(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_REDIS_URL", "redis://:hunter2@r/0")
    assert main(["config", "show", "--origin"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    (line,) = [line for line in out.splitlines() if line.startswith("redis_url")]
    assert line.split(maxsplit=2)[1:] == ["********", "environment: HEADRACE_REDIS_URL"]
    assert "\x1b" not in out


def test_home_is_a_flag(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--origin", "--output", "json", "--home", "here"]) == 0
    assert json.loads(capsys.readouterr().out)["home"] == {
        "value": str(project / "here"),
        "origin": "flag",
    }


def test_the_names_of_the_package() -> None:
    assert cli.__doc__ is not None
