"""What ``spark-submit.sh`` runs: PySpark's own spark-submit with our jars, package and defaults.

Options before the script are spark-submit's and win over our defaults; what follows the script is
the script's. The process is replaced, so that signals reach the JVM.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.embedded.class_archive import archive_option
from headrace.embedded.jars import spark_home, spark_jars
from headrace.embedded.java import find_java
from headrace.errors import OperatorError
from headrace.settings import Settings, load_settings
from headrace.settings.places import CHECKOUT, project_root

# Options of spark-submit that stand alone; every other one is followed by its value.
SINGLE = frozenset({"--help", "-h", "--verbose", "-v", "--version", "--supervise", "--usage-error"})


# Warm-up is most of what a JVM of a few minutes computes. C2 by its own thresholds compiles what
# has run a hundred times, such as Spark's own code generator, and takes a core from the data.
JVM = (
    "-XX:+UseParallelGC",
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
)


def defaults(settings: Settings, root: Path, spark_home: Path) -> dict[str, str]:
    """Spark settings for every job; ``--conf`` overrides each."""
    logging = next(
        (
            file
            for folder in (root, CHECKOUT)
            if (file := folder / "conf" / "log4j2.properties").is_file()
        ),
        None,
    )
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # Delta's own state jobs run 50 tasks otherwise.
        "spark.databricks.delta.snapshotPartitions": "2",
        # VACUUM lists folders in 10,000 tasks otherwise: a minute on two cores.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(settings.stream.partitions),
        "spark.sql.shuffle.partitions": str(settings.stream.partitions),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(settings.home / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.executorEnv.POLARS_MAX_THREADS": "1",
        "spark.driver.extraJavaOptions": " ".join(
            (
                *JVM,
                *archive_option(spark_home),
                "-Duser.timezone=UTC",
                *((f"-Dlog4j2.configurationFile=file:{logging}",) if logging else ()),
            )
        ),
        "spark.executor.extraJavaOptions": " ".join((*JVM, "-Duser.timezone=UTC")),
    }


def command(
    arguments: Sequence[str], settings: Settings, *, spark_home: Path, root: Path
) -> list[str]:
    """The command line of PySpark's spark-submit for the ``arguments`` of ours."""
    options, script, rest = split(arguments)
    if script is None:
        return [str(spark_home / "bin" / "spark-submit"), *options]
    master = option(options, "--master") or settings.stream.master
    ours = ["--master", master] if option(options, "--master") is None else []
    if option(options, "--driver-memory") is None:
        ours += ["--driver-memory", settings.stream.driver_memory]
    if not is_local(master):
        # On one machine the workers run this interpreter, which has the package already.
        ours += [
            "--py-files",
            ",".join(filter(None, [str(package_zip(settings)), *_py_files(options)])),
        ]
        options = _without(options, "--py-files")
    jars = [*map(str, spark_jars(settings)), *(option(options, "--jars") or "").split(",")]
    ours += ["--jars", ",".join(filter(None, jars))]
    options = _without(options, "--jars")
    for key, value in defaults(settings, root, spark_home).items():
        ours += ["--conf", f"{key}={value}"]
    # spark-submit keeps the last of several values: the user's come after ours.
    return [
        str(spark_home / "bin" / "spark-submit"),
        *(*ours, *settings.stream.submit_arguments, *options),
        *(str(_found(script)), *rest),
    ]


def environment(
    given: Mapping[str, str], *, master: str, spark_home: Path, java: str
) -> dict[str, str]:
    """Variables for spark-submit: the interpreter that has our packages, PySpark's own Spark."""
    result = {**given, "SPARK_HOME": str(spark_home)}
    result.setdefault("POLARS_MAX_THREADS", "1")
    result.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    if "JAVA_HOME" not in result and Path(java).parent.name == "bin":
        result["JAVA_HOME"] = str(Path(java).resolve().parent.parent)
    if is_local(master):
        result.setdefault("PYSPARK_PYTHON", sys.executable)
        result.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return result


def split(arguments: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """(options of spark-submit, the script, arguments of the script)."""
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if not word.startswith("-"):
            return [*arguments[:position]], word, [*arguments[position + 1 :]]
        position += 1 if word in SINGLE or "=" in word.split(" ")[0] else 2
    return [*arguments], None, []


def option(options: Sequence[str], name: str) -> str | None:
    """The last value of ``--name value`` or ``--name=value``."""
    value = None
    for position, word in enumerate(options):
        if word == name and position + 1 < len(options):
            value = options[position + 1]
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def is_local(master: str) -> bool:
    """Do driver and workers share this machine and this interpreter?"""
    return master == "local" or master.startswith("local[")


def package_zip(settings: Settings) -> Path:
    """``headrace`` as a ZIP for ``--py-files``, named by content, so that it is made once.

    A ZIP and not a wheel: Spark puts a ``.whl`` on the driver's path but never on the workers'.
    """
    source = Path(__file__).resolve().parents[1]
    files = sorted(
        file
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc"
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(source)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    folder = settings.cache_dir / "packages"
    target = folder / f"headrace-{digest.hexdigest()[:16]}.zip"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as package:
            for file in files:
                package.write(file, Path("headrace") / file.relative_to(source))
        partial.replace(target)
    return target


def _py_files(options: Sequence[str]) -> list[str]:
    return (option(options, "--py-files") or "").split(",")


def _without(options: Sequence[str], name: str) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in options:
        if skip:
            skip = False
        elif word == name:
            skip = True
        elif not word.startswith(f"{name}="):
            kept.append(word)
    return kept


def _found(script: str) -> Path:
    """A script as seen from here, else from the checkout: ``jobs/run_stream.py`` from anywhere."""
    if "://" in script or Path(script).exists() or not (CHECKOUT / script).exists():
        return Path(script)
    return CHECKOUT / script


def main(arguments: Sequence[str]) -> int:
    """Become spark-submit."""
    settings = load_settings()
    home = spark_home()
    line = command(arguments, settings, spark_home=home, root=project_root())
    master = option(line, "--master") or settings.stream.master
    variables = environment(os.environ, master=master, spark_home=home, java=find_java())
    os.execve(line[0], line, variables)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OperatorError as error:
        sys.exit(f"headrace: {error}")
