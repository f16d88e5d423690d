"""The embedded Kafka: one node, KRaft, run from the jars of ``jars.lock``."""

from __future__ import annotations

import base64
import signal
import struct
import subprocess
import uuid
from pathlib import Path

from headrace.embedded.children import make_private, write_private
from headrace.embedded.java import good_java
from headrace.embedded.ports import LOOPBACK, answers, choose_port
from headrace.embedded.server import Launch
from headrace.errors import OperatorError

# One broker: every internal topic has one replica, and few partitions, each of which costs files
# and start-up time. Messages up to 4 MiB, so that oversized events reach the quarantine and not
# the producer's face. The cleaner's buffer is 128 MiB by default, a quarter of the heap.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
message.max.bytes=4194304
replica.fetch.max.bytes=4194304
log.index.size.max.bytes=1048576
log.segment.bytes=134217728
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
background.threads=2
"""

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n%ex
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""

# A Metadata request, version 1, for no topic: size, key 3, version, correlation 1, no client id,
# an empty list. The answer lists brokers that have left their start-up fence; ours says its host.
_QUESTION = struct.pack(">hhihi", 3, 1, 1, -1, 0)
METADATA_QUESTION = struct.pack(">i", len(_QUESTION)) + _QUESTION


class EmbeddedKafka:
    """Kafka under ``folder``."""

    name = "kafka"
    setting = "HEADRACE_KAFKA_BOOTSTRAP"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, classpath: str, memory: str) -> None:
        self._folder = folder
        self._classpath = classpath
        self._memory = memory

    def prepare(self, port: int) -> Launch:
        make_private(self._folder)
        configuration = self._folder / "server.properties"
        logging = self._folder / "log4j2.properties"
        data = self._folder / "data"
        controller_port = choose_port()
        while controller_port == port:
            controller_port = choose_port()
        write_private(
            configuration,
            PROPERTIES.format(
                host=LOOPBACK, port=port, controller_port=controller_port, folder=data
            ),
        )
        write_private(logging, LOGGING)
        java = [
            good_java(),
            # The serial collector needs the least memory, and the broker shares few cores.
            *(f"-Xmx{self._memory}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
            *("-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={logging}"),
            *("-cp", self._classpath),
        ]
        if not (data / "meta.properties").exists():
            self._format([*java, "kafka.tools.StorageTool", "format"], configuration)
        return Launch([*java, "kafka.Kafka", str(configuration)])

    def _format(self, tool: list[str], configuration: Path) -> None:
        # An id that began with "-" would be read as an option.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [*tool, f"--cluster-id={cluster}", "--config", str(configuration)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OperatorError(
                f"the embedded Kafka cannot format {self._folder}:\n"
                f"{(done.stderr or done.stdout).strip()[-2_000:]}\n"
                f"To use a broker of your own instead, set {self.setting}."
            )

    def is_ready(self, port: int) -> bool:
        return answers(port, METADATA_QUESTION, LOOPBACK.encode())

    def address(self, port: int) -> str:
        return f"{LOOPBACK}:{port}"
