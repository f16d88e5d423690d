"""The settings tree. Every leaf has a default that is right for one machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from headrace.settings.places import user_cache

ENV_PREFIX = "HEADRACE_"
ENV_DELIMITER = "__"

Port = Annotated[int, Field(ge=0, le=65_535)]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*[kmgKMG]$")]


class _Branch(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stream(_Branch):
    """The streaming job."""

    master: str = Field("local[*]", description="Spark master: local[N], yarn, k8s://…, spark://…")
    driver_memory: Memory = Field("3g", description="Heap of the Spark driver")
    reserve: bool = Field(
        False, description="Keep a second job warm that goes on when the first dies: 1 GB more"
    )
    trigger_ms: int = Field(2_000, ge=100, description="Time between micro-batches")
    partitions: int = Field(2, ge=1, description="Shuffle partitions and parallel readers")
    buckets: int = Field(8, ge=1, description="Hash buckets of the profiles table")
    max_events_per_batch: int = Field(1_000_000, ge=1, description="Events one micro-batch takes")
    due_limit: int = Field(100_000, ge=1, description="Users due by time alone in one micro-batch")
    submit_arguments: tuple[str, ...] = Field(
        (), description="More arguments for spark-submit, such as --conf spark.ui.enabled=true"
    )


class Retention(_Branch):
    """How long things are kept."""

    events_days: int = Field(1_095, ge=1, description="Older events are rejected")
    horizon_days: int = Field(7, ge=1, description="A repeated event id is noticed this long")


class Ingest(_Branch):
    """The event API."""

    host: str = Field("127.0.0.1", description="Address the event API listens on")
    port: Port = Field(8_081, description="Port of the event API")
    spool: str = Field("", description="Folder for events while Kafka is away; empty: under home")
    spool_mb: int = Field(256, ge=1, description="What that folder may hold")


class Cache(_Branch):
    """What Redis holds."""

    members: bool = Field(True, description="Keep the sorted set of members of every segment")


class Connect(_Branch):
    """Kafka Connect, which carries changes of databases' rows to Kafka."""

    url: str = Field("", description="REST address of a worker; empty: `headrace up` starts one")
    passwords: str = Field(
        "", description="File of databases' passwords, as the worker sees it; empty: under home"
    )


class Embedded(_Branch):
    """Servers that `headrace up` starts where no address is configured."""

    kafka_memory: Memory = Field("512m", description="Heap of the embedded Kafka broker")
    kafka_port: Port = Field(0, description="Port of the embedded broker; 0 picks a free one")
    postgres_port: Port = Field(0, description="Port of the embedded Postgres; 0 picks a free one")
    redis_port: Port = Field(0, description="Port of the embedded Redis; 0 picks a free one")
    connect_memory: Memory = Field("384m", description="Heap of the embedded Kafka Connect")
    connect_port: Port = Field(0, description="Port of the embedded Connect; 0 picks a free one")
    start_timeout_seconds: int = Field(60, ge=1, description="Give up on a server after this long")


class Settings(BaseSettings):
    """All settings of one project. Build it with ``load_settings``; plain ``Settings()`` is all
    defaults and reads nothing from its surroundings."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        env_ignore_empty=True,
    )

    home: Path = Field(Path(".headrace"), description="Data, logs and pids of this project")
    namespace: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]{0,63}$",
        description="Prefix of topic names and Redis keys, to share servers",
    )
    rules: str = Field("rules", description="The folder of the catalog and the segments")
    postgres_url: SecretStr = Field(SecretStr(""), description="postgresql+psycopg2://…")
    kafka_bootstrap: str = Field("", description="host:port of Kafka brokers, comma-separated")
    redis_url: SecretStr = Field(SecretStr(""), description="redis://…")
    tombstone_key: SecretStr = Field(
        SecretStr(""),
        description="Makes tombstones of forgotten users unreadable; empty: made once, under home",
    )
    api_host: str = Field("127.0.0.1", description="Address the API listens on")
    api_port: Port = Field(8_080, description="Port of the API")
    api_anonymous: Literal["viewer", "none"] = Field(
        "viewer", description="What the API lets those do who show no key; none off the loopback"
    )
    api_key: SecretStr = Field(SecretStr(""), description="The key our own commands show the API")
    freshness_seconds: int = Field(60, ge=1, description="Answers older than this are stale")
    tables_root: str = Field("", description="Folder or URL of the Delta tables")
    checkpoint_root: str = Field("", description="Folder or URL of the streaming checkpoints")
    cache_dir: Path = Field(default_factory=user_cache, description="Downloaded jars")
    maven_repository: str = Field("", description="Where jars come from; empty: the public one")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Logging")
    stream: Stream = Stream()
    retention: Retention = Retention()
    ingest: Ingest = Ingest()
    cache: Cache = Cache()
    connect: Connect = Connect()
    embedded: Embedded = Embedded()

    @model_validator(mode="before")
    @classmethod
    def _roots_under_home(cls, given: Any) -> Any:
        """Tables and checkpoints lie under home unless told otherwise."""
        if not isinstance(given, Mapping):
            return given
        home = given.get("home", cls.model_fields["home"].default)
        roots = {"tables_root": f"{home}/tables", "checkpoint_root": f"{home}/checkpoints"}
        return {**given, **{name: given.get(name) or root for name, root in roots.items()}}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only: ``loading`` reads the other sources, and remembers which said what."""
        return (init_settings,)
