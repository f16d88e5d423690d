"""Which source wins, and what is said about a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.errors import OperatorError
from headrace.settings import Settings, load

FLAG = {"api_port": 1111}
ENVIRONMENT = {"HEADRACE_API_PORT": "2222"}
DOTENV = "HEADRACE_API_PORT=3333\n"
FILE = "api_port = 4444\n"
SERVERS = {"api_port": 5555}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "local.toml").write_text("")
    (tmp_path / ".headrace" / "run").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "port", "origin"),
    [
        pytest.param("flag env dotenv file servers", 1111, "flag", id="a flag beats all"),
        pytest.param(
            "env dotenv file servers",
            2222,
            "environment: HEADRACE_API_PORT",
            id="the environment beats .env",
        ),
        pytest.param(
            "dotenv file servers", 3333, ".env: HEADRACE_API_PORT", id=".env beats the file"
        ),
        pytest.param("file servers", 4444, "conf/local.toml", id="the file beats a noted address"),
        pytest.param("servers", 5555, "embedded server", id="a noted address beats the default"),
        pytest.param("", 8080, "default", id="the default is last"),
    ],
)
def test_precedence(
    project: Path, monkeypatch: pytest.MonkeyPatch, sources: str, port: int, origin: str
) -> None:
    given = sources.split()
    if "env" in given:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
    if "dotenv" in given:
        (project / ".env").write_text(DOTENV)
    if "file" in given:
        (project / "conf" / "local.toml").write_text(FILE)
    if "servers" in given:
        (project / ".headrace" / "run" / "servers.json").write_text(json.dumps(SERVERS))
    loaded = load(root=project, flags=FLAG if "flag" in given else {})
    assert loaded.settings.api_port == port
    assert loaded.origins["api_port"] == origin


def test_nested_names_and_lists(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_STREAM__TRIGGER_MS", "500")
    monkeypatch.setenv("HEADRACE_STREAM__SUBMIT_ARGUMENTS", "--conf spark.ui.enabled=true")
    (project / "conf" / "local.toml").write_text("[stream]\nbuckets = 4\ntrigger_ms = 9000\n")
    stream = load(root=project).settings.stream
    assert (stream.trigger_ms, stream.buckets) == (500, 4)
    assert stream.submit_arguments == ("--conf", "spark.ui.enabled=true")


def test_every_leaf_has_an_origin(project: Path) -> None:
    loaded = load(root=project)
    assert {name for name, _, _ in loaded.leaves()} == set(loaded.origins)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("api_prot = 1", "unknown setting 'api_prot' (did you mean 'api_port'?)"),
        pytest.param("[stream]\ntriger_ms = 1", "'stream.triger_ms' (did you mean"),
        pytest.param("[straem]\nbuckets = 1", "'straem.buckets' (did you mean 'stream.buckets'?)"),
        pytest.param("api_port = 70000", "setting 'api_port' 70000 (from conf/local.toml)"),
        pytest.param("[stream]\ndriver_memory = 3", "setting 'stream.driver_memory' 3"),
        pytest.param("api_port = ", "cannot read"),
        pytest.param('stream = "x"', "unknown setting 'stream'"),
    ],
)
def test_a_mistake_in_the_file_is_named(project: Path, text: str, message: str) -> None:
    (project / "conf" / "local.toml").write_text(text)
    with pytest.raises(OperatorError) as error:
        load(root=project)
    assert message in str(error.value)
    assert "local.toml" in str(error.value)


def test_a_mistake_in_the_environment_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_STREAM__TRIGER_MS", "5")
    with pytest.raises(OperatorError, match="did you mean 'HEADRACE_STREAM__TRIGGER_MS'"):
        load(root=project)


def test_secrets_are_never_shown(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", "postgresql+psycopg2://ann:hunter2@db/x")
    loaded = load(root=project)
    assert loaded.settings.postgres_url.get_secret_value().endswith("@db/x")
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in repr(list(loaded.leaves()))


def test_a_bad_secret_is_not_shown_either(project: Path) -> None:
    (project / "conf" / "local.toml").write_text("redis_url = 12345678\n")
    with pytest.raises(OperatorError) as error:
        load(root=project)
    assert "redis_url" in str(error.value)
    assert "12345678" not in str(error.value)


def test_places_are_meant_from_the_root_of_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = project / "rules" / "segments"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    (project / "conf" / "local.toml").write_text('home = "data"\ntables_root = "s3a://b/t"\n')
    settings = load().settings
    assert settings.home == project / "data"
    assert settings.tables_root == "s3a://b/t"
    assert settings.checkpoint_root == str(project / "data" / "checkpoints")
    assert settings.rules == str(project / "rules")


def test_a_home_from_the_shell_is_meant_from_where_the_shell_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "conf")
    monkeypatch.setenv("HEADRACE_HOME", "here")
    assert load().settings.home == project / "conf" / "here"


def test_an_unknown_target_lists_the_known(project: Path) -> None:
    (project / "conf" / "staging.toml").write_text("")
    with pytest.raises(OperatorError, match=r"no target 'stagin'.*local.*staging"):
        load("stagin", root=project)


def test_broken_notes_of_servers_count_as_none(project: Path) -> None:
    (project / ".headrace" / "run" / "servers.json").write_text("{")
    assert load(root=project).settings.kafka_bootstrap == ""


def test_an_empty_value_in_the_file_hides_nothing(project: Path) -> None:
    (project / "conf" / "local.toml").write_text('kafka_bootstrap = ""\n')
    (project / ".headrace" / "run" / "servers.json").write_text('{"kafka_bootstrap": "k:1"}')
    assert load(root=project).settings.kafka_bootstrap == "k:1"


@pytest.mark.parametrize("target", ["local", "production"])
def test_the_files_we_ship_name_every_setting(target: str) -> None:
    root = Path(__file__).parents[2]
    loaded = load(target, root=root)
    text = (root / "conf" / f"{target}.toml").read_text().lower()
    leaves = {name.rpartition(".")[2] for name, _, _ in loaded.leaves()}
    assert [leaf for leaf in sorted(leaves - {"cache_dir"}) if leaf not in text] == []


def test_the_local_file_holds_the_defaults() -> None:
    root = Path(__file__).parents[2]
    ours = load("local", root=root, flags={"home": "/h"}).settings
    plain = Settings(home=Path("/h"), rules=str(root / "rules"))
    assert ours.model_dump() == plain.model_dump()


def test_plain_settings_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_API_PORT", "1")
    assert Settings().api_port == 8080
