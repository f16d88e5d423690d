"""The command line that ``spark-submit.sh`` becomes."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from headrace.embedded.class_archive import archive_option, class_archive
from headrace.embedded.jars import spark_home
from headrace.embedded.submit import command, environment, option, package_zip, split
from headrace.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("headrace.embedded.submit.spark_jars", lambda _: (Path("/j/a.jar"),))
    settings = Settings(home=tmp_path, cache_dir=tmp_path / "cache")
    return lambda *words: command(words, settings, spark_home=Path("/spark"), root=ROOT)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["job.py", "--x"], ([], "job.py", ["--x"]), id="script alone"),
        pytest.param(
            ["--master", "local[4]", "job.py"],
            (["--master", "local[4]"], "job.py", []),
            id="an option takes its value",
        ),
        pytest.param(
            ["--verbose", "--conf=a=b", "job.py", "--help"],
            (["--verbose", "--conf=a=b"], "job.py", ["--help"]),
            id="some stand alone",
        ),
        pytest.param(["--help"], (["--help"], None, []), id="no script"),
    ],
)
def test_split(words: list[str], expected: tuple[list[str], str | None, list[str]]) -> None:
    assert split(words) == expected


def test_defaults_come_before_what_the_user_says(line) -> None:
    words = line("--conf", "spark.ui.enabled=true", "job.py", "a", "b")
    assert option(words, "--master") == "local[*]"
    assert option(words, "--driver-memory") == "3g"
    assert words.index("spark.ui.enabled=false") < words.index("spark.ui.enabled=true")
    assert words[-3:] == ["job.py", "a", "b"]
    assert "--py-files" not in words


def test_the_user_wins(line) -> None:
    words = line("--master", "local[4]", "--driver-memory=5g", "--jars", "/mine.jar", "job.py")
    assert words.count("--master") == 1
    assert option(words, "--driver-memory") == "5g"
    assert option(words, "--jars") == "/j/a.jar,/mine.jar"
    assert words.count("--jars") == 1


def test_workers_elsewhere_get_the_package(line) -> None:
    words = line("--master", "spark://there:7077", "--py-files", "mine.zip", "job.py")
    package, mine = str(option(words, "--py-files")).split(",")
    assert mine == "mine.zip"
    assert Path(package).suffix == ".zip"


def test_a_script_is_found_from_anywhere(
    line,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert line("jobs/run_stream.py")[-1] == str(ROOT / "jobs" / "run_stream.py")


def test_the_package_is_made_once_for_the_same_content(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path)
    first = package_zip(settings)
    stamp = first.stat().st_mtime_ns
    assert package_zip(settings) == first
    assert first.stat().st_mtime_ns == stamp
    with zipfile.ZipFile(first) as package:
        names = package.namelist()
    assert "headrace/embedded/submit.py" in names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_environment_of_a_cluster_keeps_its_interpreter() -> None:
    where = {"spark_home": Path("/spark"), "java": "/usr/bin/java"}
    local = environment({}, master="local[2]", **where)  # type: ignore[arg-type]
    assert {"PYSPARK_PYTHON", "SPARK_LOCAL_IP"} <= local.keys()
    cluster = environment({}, master="yarn", **where)  # type: ignore[arg-type]
    assert not {"PYSPARK_PYTHON", "SPARK_LOCAL_IP"} & cluster.keys()
    assert cluster["SPARK_HOME"] == "/spark"


def version_under(*options: str) -> subprocess.CompletedProcess[str]:
    """Let Spark's JVM, with these options, say its version."""
    words = ["./spark-submit.sh", "--driver-java-options", " ".join(options), "--version"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_jobs_begin_with_the_archive_that_setup_made() -> None:
    option = archive_option(spark_home())
    assert option, "`make setup` makes it"
    # Under this option a JVM ends where otherwise it would go on without its archive.
    assert version_under("-Xshare:on", *option).returncode == 0
    assert version_under("-Xshare:on", "-XX:SharedArchiveFile=/dev/null").returncode != 0


def test_another_java_or_other_jars_have_another_archive(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.touch()
    (tmp_path / "jars").mkdir()
    found = {class_archive(tmp_path, str(java))}
    (tmp_path / "jars" / "a.jar").write_bytes(b"a")
    found.add(class_archive(tmp_path, str(java)))
    java.write_text("newer")
    found.add(class_archive(tmp_path, str(java)))
    assert len(found) == 3
    assert archive_option(tmp_path, str(java)) == ()
