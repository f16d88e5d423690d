"""Jars by ``jars.lock``: fetched once into a cache, never used with another sha256 than locked.

``python -m headrace.embedded`` fetches what is missing; ``make setup`` calls it.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from headrace.errors import OperatorError
from headrace.settings import Settings, load_settings
from headrace.settings.places import CHECKOUT

Group = Literal["spark", "broker", "connect"]

ATTEMPTS = 4  # a registry that answers 429 or drops the line usually answers a second later
DOWNLOADS_AT_ONCE = 8
TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True, order=True)
class Jar:
    """One line of the lock: a Maven coordinate and the sum its file must have."""

    group: str
    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name in the cache; organisations are left out, as in a Maven repository."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def path(self) -> str:
        """Where a Maven repository keeps it."""
        organisation, artifact, version = self.coordinate.split(":")
        return f"{organisation.replace('.', '/')}/{artifact}/{version}/{self.file_name}"


def spark_home() -> Path:
    """PySpark's folder, which holds a whole Spark."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise OperatorError("PySpark is not installed here; run `make setup`")
    return Path(spec.origin).parent


def lock_file() -> Path:
    """``jars.lock``: of the checkout, or the copy inside an installed wheel."""
    inside = Path(__file__).parent / "jars.lock"
    return inside if inside.exists() else CHECKOUT / "jars.lock"


def locked(lock: Path | None = None, group: Group | None = None) -> tuple[Jar, ...]:
    """The jars of ``lock``, of one group or of all."""
    file = lock or lock_file()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OperatorError(f"cannot read the list of jars {file}: {error.strerror}") from error
    jars = []
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if (
            len(words) != 3
            or words[0] not in get_args(Group)
            or words[1].count(":") != 2
            or not re.fullmatch("[0-9a-f]{64}", words[2])
        ):
            raise OperatorError(
                f"{file}:{number}: not 'group organisation:artifact:version sha256'"
            )
        jars.append(Jar(*words))
    return tuple(jar for jar in jars if group in (None, jar.group))


def cache_folder(settings: Settings) -> Path:
    """Where jars are kept; shared by all checkouts of one user."""
    return settings.cache_dir / "jars"


def missing(settings: Settings, jars: Iterable[Jar] | None = None) -> tuple[Jar, ...]:
    """The locked jars that the cache does not hold yet (sums are not looked at)."""
    folder = cache_folder(settings)
    wanted = locked() if jars is None else tuple(jars)
    return tuple(jar for jar in wanted if not (folder / jar.file_name).exists())


def fetch(settings: Settings, jars: Iterable[Jar]) -> tuple[Path, ...]:
    """Paths of ``jars`` in the cache, in their order, each with its locked sum.

    A file that is there is never fetched again, so nothing is asked of the network in the
    ordinary case; a file that is there with another sum is refused, not replaced.
    """
    wanted = tuple(jars)
    folder = cache_folder(settings)
    absent = missing(settings, wanted)
    if absent:
        _make(folder)
        root = settings.maven_repository or default_repository()
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            for _ in pool.map(lambda jar: _download(jar, root, folder), absent):
                pass
    paths = tuple(folder / jar.file_name for jar in wanted)
    fetched = {jar.file_name for jar in absent}  # their sums were taken on the way in
    for jar, path in zip(wanted, paths, strict=True):
        if jar.file_name not in fetched:
            _verify(jar, path)
    return paths


def spark_jars(settings: Settings | None = None) -> tuple[Path, ...]:
    """What Spark needs beside PySpark's own jars: the value of ``spark.jars``."""
    return fetch(settings or load_settings(), locked(group="spark"))


def broker_classpath(settings: Settings | None = None) -> str:
    """The class path of the embedded Kafka broker."""
    return os.pathsep.join(map(str, fetch(settings or load_settings(), locked(group="broker"))))


def connect_classpath(settings: Settings | None = None) -> str:
    """The class path of the embedded worker of Kafka Connect: its own jars, the broker's, and the
    driver that Spark reads databases with."""
    driver = (jar for jar in locked(group="spark") if ":postgresql:" in jar.coordinate)
    jars = [*locked(group="connect"), *locked(group="broker"), *driver]
    return os.pathsep.join(map(str, fetch(settings or load_settings(), jars)))


def default_repository() -> str:
    """The Maven repository that Ivy, which ships inside PySpark, uses unless told otherwise.

    Asked of Ivy instead of written here, so that there is one owner of that address.
    """
    for ivy in sorted((spark_home() / "jars").glob("ivy-*.jar")):
        with zipfile.ZipFile(ivy) as jar:
            resolver = jar.read("org/apache/ivy/plugins/resolver/IBiblioResolver.class")
        found = re.search(rb"https://[\w./-]+/maven2/", resolver)
        if found:
            return found.group().decode("ascii")
    raise OperatorError(
        "no Maven repository is known, because PySpark is not installed whole;"
        " set HEADRACE_MAVEN_REPOSITORY to the address of one"
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(
            f"cannot make the folder for jars {folder}: {error.strerror};"
            " set HEADRACE_CACHE_DIR to a folder that can be written"
        ) from error


def _download(jar: Jar, root: str, folder: Path) -> None:
    address = f"{root.rstrip('/')}/{jar.path}"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
                content: bytes = answer.read()
            break
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404) or attempt == ATTEMPTS:
                raise _unreachable(jar, root, f"HTTP {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS:
                raise _unreachable(jar, root, str(error)) from error
        time.sleep(attempt)
    found = hashlib.sha256(content).hexdigest()
    if found != jar.sha256:
        raise OperatorError(
            f"{jar.coordinate} as served by {root} is not the jar in jars.lock:"
            f" its sha256 is {found}, not {jar.sha256}; it was not kept"
        )
    # Another process may fetch the same jar: each writes its own file, the rename is atomic.
    partial = folder / f".{jar.file_name}.{os.getpid()}"
    partial.write_bytes(content)
    partial.replace(folder / jar.file_name)


def _unreachable(jar: Jar, root: str, why: str) -> OperatorError:
    return OperatorError(
        f"cannot fetch {jar.coordinate} from {root}: {why};"
        " set HEADRACE_MAVEN_REPOSITORY to a Maven repository that can be reached"
    )


def _verify(jar: Jar, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise OperatorError(
            f"{path} is not the jar in jars.lock: its sha256 is {found}, not {jar.sha256};"
            " delete the file to have it fetched again"
        )
