"""The embedded worker of Kafka Connect: one, distributed, so that it keeps nothing but in Kafka."""

from __future__ import annotations

import http.client
import signal
import urllib.request
from pathlib import Path

from headrace.embedded.children import make_private, write_private
from headrace.embedded.java import good_java
from headrace.embedded.kafka import LOGGING
from headrace.embedded.ports import LOOPBACK
from headrace.embedded.server import Launch

# Offsets every second: what a killed worker sends again is repeated, and repeats cost little.
# Passwords come from a file, so that whoever asks the worker for its connectors sees none.
PROPERTIES = """\
bootstrap.servers={bootstrap}
group.id={namespace}connect
config.storage.topic={namespace}connect.configs
offset.storage.topic={namespace}connect.offsets
status.storage.topic={namespace}connect.status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
offset.flush.interval.ms=1000
scheduled.rebalance.max.delay.ms=0
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
listeners=http://{host}:{port}
plugin.discovery=service_load
config.providers=file
config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider
config.providers.file.param.allowed.paths={secrets}
producer.acks=all
producer.compression.type=lz4
"""


class EmbeddedConnect:
    """A worker whose files lie in ``folder``; connectors may read passwords from ``secrets``."""

    name = "connect"
    setting = "HEADRACE_CONNECT__URL"
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        folder: Path,
        classpath: str,
        memory: str,
        *,
        bootstrap: str,
        namespace: str,
        secrets: Path,
    ) -> None:
        self._folder = folder
        self._classpath = classpath
        self._memory = memory
        self._values = {
            "bootstrap": bootstrap,
            "namespace": namespace,
            "secrets": secrets,
            "host": LOOPBACK,
        }

    def prepare(self, port: int) -> Launch:
        make_private(self._folder)
        configuration = self._folder / "worker.properties"
        logging = self._folder / "log4j2.properties"
        write_private(configuration, PROPERTIES.format(port=port, **self._values))
        write_private(logging, LOGGING)
        return Launch(
            [
                good_java(),
                *(f"-Xmx{self._memory}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
                *("-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={logging}"),
                *("-cp", self._classpath),
                "org.apache.kafka.connect.cli.ConnectDistributed",
                str(configuration),
            ]
        )

    def is_ready(self, port: int) -> bool:
        """It lists connectors once it has joined its group and read what they are."""
        try:
            with urllib.request.urlopen(f"{self.address(port)}/connectors", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def address(self, port: int) -> str:
        return f"http://{LOOPBACK}:{port}"
