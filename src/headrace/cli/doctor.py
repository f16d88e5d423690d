"""``headrace doctor``: what is missing on this machine, and how to get it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer

from headrace import embedded
from headrace.cli.invocation import Output, invoked
from headrace.embedded.jars import cache_folder, fetch, locked, missing
from headrace.embedded.java import OLDEST, find_java, java_version
from headrace.embedded.ports import is_free
from headrace.embedded.postgres import postgres_binaries
from headrace.embedded.redis import redis_binary
from headrace.embedded.services import services_status
from headrace.errors import OperatorError
from headrace.settings import Settings

GIB = 2**30
MEMORY_GIB = 6  # driver 3, broker 0.5, Python workers, Postgres, Redis, and the system itself
DISK_GIB = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    is_good: bool
    found: str
    advice: str = ""


Check = Callable[[Settings], Finding]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    output: Annotated[Output, typer.Option(help="table or json.")] = Output.TABLE,
) -> None:
    """Look for what Headrace needs; exit code 1 if anything is missing."""
    invocation = invoked(context)
    findings = list(examine(invocation.settings))
    if output is Output.JSON:
        invocation.print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok[/]     " if finding.is_good else "[red]missing[/]"
            invocation.out.print(f"{mark} {finding.name:<9} {finding.found}")
            if not finding.is_good:
                invocation.out.print(f"        {'':<9} {finding.advice}")
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check, the likeliest to be missing first."""
    for check in CHECKS:
        yield check(settings)


def _java(_: Settings) -> Finding:
    advice = (
        f"Java {OLDEST} or newer runs Spark and the embedded Kafka."
        " Debian: apt install openjdk-17-jre-headless · macOS: brew install openjdk@17;"
        " then set JAVA_HOME if `java` is not on PATH"
    )
    try:
        program = find_java()
        version = java_version(program)
    except OperatorError as error:
        return Finding("java", False, str(error).partition(";")[0], advice)
    return Finding("java", version >= OLDEST, f"Java {version} ({program})", advice)


def _python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        "python",
        (3, 11) <= sys.version_info[:2] < (3, 14),
        f"Python {version} ({sys.executable})",
        "Python 3.11 to 3.13 is needed."
        " Debian: apt install python3 python3-venv · macOS: brew install python@3.12",
    )


def _make(_: Settings) -> Finding:
    program = shutil.which("make")
    return Finding(
        "make",
        program is not None,
        program or "not on PATH",
        "Debian: apt install make · macOS: xcode-select --install",
    )


def _memory(_: Settings) -> Finding:
    total = psutil.virtual_memory().total / GIB
    return Finding(
        "memory",
        total >= MEMORY_GIB * 0.95,  # a machine sold as 6 GiB shows a little less
        f"{total:.1f} GiB",
        f"{MEMORY_GIB} GiB are needed with everything on one machine; with less, lower"
        " HEADRACE_STREAM__DRIVER_MEMORY and HEADRACE_EMBEDDED__KAFKA_MEMORY",
    )


def _disk(settings: Settings) -> Finding:
    place = next(each for each in (settings.home, *settings.home.parents) if each.exists())
    free = shutil.disk_usage(place).free / GIB
    return Finding(
        "disk",
        free >= DISK_GIB,
        f"{free:.1f} GiB free for {settings.home}",
        f"{DISK_GIB} GiB are needed; set HEADRACE_HOME to a folder on a larger disk",
    )


def _home(settings: Settings) -> Finding:
    place = next(each for each in (settings.home, *settings.home.parents) if each.exists())
    return Finding(
        "home",
        _is_writable(place),
        str(settings.home),
        "it cannot be written; set HEADRACE_HOME to a folder that can",
    )


def _is_writable(folder: Path) -> bool:
    probe = folder / ".headrace-probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def _ports(settings: Settings) -> Finding:
    ours = next(row.is_running for row in services_status(settings.home) if row.name == "serve")
    wanted = {
        "embedded.postgres_port": settings.embedded.postgres_port,
        "embedded.kafka_port": settings.embedded.kafka_port,
        "embedded.redis_port": settings.embedded.redis_port,
    }
    running = any(row.is_running for row in embedded.status(settings.home, settings))
    taken = [
        f"{port} ({name})"
        for name, port in wanted.items()
        if port and not running and not is_free(port)
    ]
    if not ours and not is_free(settings.api_port):
        # Not a fault: `up` then picks another and says which.
        return Finding(
            "ports", not taken, f"{settings.api_port} is taken, the API will use another"
        )
    return Finding(
        "ports",
        not taken,
        f"taken: {', '.join(taken)}" if taken else "free",
        "end the program that listens there, or set those ports to 0 to have free ones picked",
    )


def _jars(settings: Settings) -> Finding:
    absent = missing(settings)
    advice = (
        "run `make setup`, which fetches them; without a network copy that folder from a machine"
        " that has them"
    )
    if absent:
        return Finding("jars", False, f"{len(absent)} not in {cache_folder(settings)}", advice)
    try:
        fetch(settings, locked())
    except OperatorError as error:
        return Finding("jars", False, str(error), "delete that file, then run `make setup`")
    return Finding("jars", True, f"{len(locked())} in {cache_folder(settings)}")


def _postgres(settings: Settings) -> Finding:
    return _server("postgres", settings, lambda: str(postgres_binaries() / "postgres"))


def _redis(settings: Settings) -> Finding:
    return _server("redis", settings, redis_binary)


def _server(name: str, settings: Settings, find: Callable[[], str]) -> Finding:
    row = next(row for row in embedded.status(settings.home, settings) if row.name == name)
    if row.kind == "configured":
        return Finding(name, True, f"configured: {row.address}")
    try:
        return Finding(name, True, find())
    except OperatorError as error:
        found, _, advice = str(error).partition(";")
        return Finding(name, False, found, advice.strip())


CHECKS: tuple[Check, ...] = (
    _java,
    _python,
    _make,
    _memory,
    _disk,
    _home,
    _ports,
    _jars,
    _postgres,
    _redis,
)
