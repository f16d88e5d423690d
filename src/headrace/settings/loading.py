"""From flags, environment, files and running servers to one ``Settings``, with every origin."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr, ValidationError

from headrace.errors import OperatorError
from headrace.settings.places import CHECKOUT, project_root
from headrace.settings.tree import ENV_DELIMITER, ENV_PREFIX, Settings

Origin: TypeAlias = str
Leaves: TypeAlias = dict[str, Any]  # dotted name -> value as given

DEFAULT_TARGET = "local"

# Variables of ours that are not settings: which file to read, and the mark on what `up` starts.
NOT_SETTINGS = frozenset({"HEADRACE_TARGET", "HEADRACE_RUN_TOKEN", "HEADRACE_FAILPOINTS"})

# Folders of the project: relative ones are meant from its root, wherever a command is given.
PLACES = frozenset(
    {"rules", "tables_root", "checkpoint_root", "cache_dir", "ingest.spool", "connect.passwords"}
)

SERVERS_FILE = Path("run") / "servers.json"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for every leaf (dotted name) where its value came from."""

    settings: Settings
    origins: Mapping[str, Origin]
    target: str
    root: Path

    def leaves(self) -> Iterator[tuple[str, str, Origin]]:
        """(dotted name, value as text with secrets hidden, origin), sorted by name."""
        for name, value in sorted(_values(self.settings)):
            yield name, _shown(value), self.origins[name]


def load_settings(
    target: str | None = None, *, flags: Mapping[str, Any] | None = None, root: Path | None = None
) -> Settings:
    """The settings of the project around the working folder; see the package for the order."""
    return load(target, flags=flags, root=root).settings


def load(
    target: str | None = None, *, flags: Mapping[str, Any] | None = None, root: Path | None = None
) -> Loaded:
    """As ``load_settings``, with origins. ``flags`` are by dotted name; None means not given."""
    root = root or project_root()
    dotenv = {k: v for k, v in dotenv_values(root / ".env").items() if v is not None}
    named = target or os.environ.get("HEADRACE_TARGET") or dotenv.get("HEADRACE_TARGET")
    layers: list[tuple[Origin, Leaves]] = [
        ("flag", {name: value for name, value in (flags or {}).items() if value is not None}),
        ("environment", _from_variables(os.environ, "the environment")),
        (".env", _from_variables(dotenv, str(root / ".env"))),
        _from_file(root, named),
    ]
    home = _home(layers, root)
    layers.append(_from_servers(home))

    merged: Leaves = {}
    origins: dict[str, Origin] = {}
    for origin, leaves in layers:
        for name, value in leaves.items():
            if name not in merged:
                merged[name] = value
                origins[name] = _named(origin, name)
    merged["home"] = home
    merged.setdefault("rules", "rules")
    for name in PLACES & merged.keys():
        if "://" not in str(merged[name]):
            merged[name] = str((root / Path(str(merged[name])).expanduser()).resolve())
    settings = _validated(merged, origins)
    for name, _ in _values(settings):
        origins.setdefault(name, "default")
    return Loaded(settings, origins, named or DEFAULT_TARGET, root)


def _home(layers: list[tuple[Origin, Leaves]], root: Path) -> Path:
    """The absolute home: as a shell user means it when given there, else from the root."""
    for origin, leaves in layers:
        if "home" in leaves:
            start = Path.cwd() if origin in ("flag", "environment") else root
            return (start / Path(str(leaves["home"])).expanduser()).resolve()
    return (root / ".headrace").resolve()


def _named(origin: Origin, name: str) -> Origin:
    if origin in ("environment", ".env"):
        return f"{origin}: {variable(name)}"
    return origin


def variable(name: str) -> str:
    """The environment variable of a dotted name."""
    return ENV_PREFIX + name.replace(".", ENV_DELIMITER).upper()


def _names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for field, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _names(kind, f"{prefix}{field}.")
        else:
            yield prefix + field


NAMES: tuple[str, ...] = tuple(sorted(_names(Settings)))
_BY_VARIABLE = {variable(name): name for name in NAMES}


def _values(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in type(model).model_fields:
        value = getattr(model, field)
        if isinstance(value, BaseModel):
            yield from _values(value, f"{prefix}{field}.")
        else:
            yield prefix + field, value


def _shown(value: Any) -> str:
    match value:
        case SecretStr():
            return "********" if value.get_secret_value() else ""
        case bool():
            return str(value).lower()
        case tuple():
            return json.dumps(value)
        case _:
            return str(value)


def _from_variables(given: Mapping[str, str], where: str) -> Leaves:
    """Settings among variables; an unknown ``HEADRACE_`` name is a typing error worth stopping."""
    leaves: Leaves = {}
    for key, text in given.items():
        if not key.startswith(ENV_PREFIX) or key in NOT_SETTINGS:
            continue
        name = _BY_VARIABLE.get(key)
        if name is None:
            raise OperatorError(f"{where}: unknown setting {key}{_nearest(key, _BY_VARIABLE)}")
        if text != "":  # an empty variable is one that was not set
            leaves[name] = _structured(text) if name == "stream.submit_arguments" else text
    return leaves


def _structured(text: str) -> Any:
    """A list, as JSON or as words."""
    try:
        return json.loads(text) if text.lstrip().startswith("[") else text.split()
    except ValueError:
        return text.split()


def _from_file(root: Path, target: str | None) -> tuple[Origin, Leaves]:
    name = f"{target or DEFAULT_TARGET}.toml"
    folders = [root / "conf", CHECKOUT / "conf"]
    file = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if file is None:
        if target is None:
            return "file", {}  # the default target's file may be absent: defaults do
        known = sorted({path.stem for folder in folders for path in folder.glob("*.toml")})
        raise OperatorError(
            f"no target {target!r}: {root / 'conf' / name} does not exist"
            + (f" (there is {', '.join(known)})" if known else "")
        )
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OperatorError(f"cannot read {file}: {error}") from error
    leaves: Leaves = {}
    for key, value in _flat(tables):
        if key not in NAMES:
            raise OperatorError(f"{file}: unknown setting '{key}'{_nearest(key, NAMES)}")
        if value != "":  # shown in the file for whoever edits it, but says nothing
            leaves[key] = value
    return f"conf/{name}", leaves


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _from_servers(home: Path) -> tuple[Origin, Leaves]:
    """Addresses that `headrace up` wrote down; a broken file counts as none."""
    try:
        written = json.loads((home / SERVERS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "embedded server", {}
    wanted = (
        "postgres_url", "kafka_bootstrap", "redis_url", "api_port", "ingest.port", "connect.url",
    )  # fmt: skip
    return "embedded server", {name: written[name] for name in wanted if name in written}


def _validated(merged: Leaves, origins: Mapping[str, Origin]) -> Settings:
    tree: dict[str, Any] = {}
    for name, value in merged.items():
        *branches, leaf = name.split(".")
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
        node[leaf] = value
    try:
        return Settings(**tree)
    except ValidationError as error:
        lines = []
        for finding in error.errors(include_url=False):
            name = ".".join(str(part) for part in finding["loc"])
            known = next(
                (leaf for leaf in NAMES if name == leaf or name.startswith(leaf + ".")), ""
            )
            given = "" if known in _SECRETS else f" {finding['input']!r:.80}"
            hint = "" if known else _nearest(name, NAMES)
            lines.append(
                f"setting '{name}'{given} (from {origins.get(known, 'flag')}):"
                f" {finding['msg'][:1].lower()}{finding['msg'][1:]}{hint}"
            )
        raise OperatorError("\n".join(lines)) from error


_SECRETS = frozenset(name for name, value in _values(Settings()) if isinstance(value, SecretStr))


def _nearest(name: str, known: Any) -> str:
    match = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {match[0]!r}?)" if match else ""
