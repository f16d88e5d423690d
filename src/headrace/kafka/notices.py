"""Notices to the streaming job on control.v1: what it would find by itself, found sooner."""

from __future__ import annotations

from headrace.kafka.kafka_python import KafkaPythonProducer
from headrace.messages.control import Notice, encode_control
from headrace.messages.headers import TYPE_CONTROL, cloud_event
from headrace.messages.topics import CONTROL, in_namespace


def tell_stream(bootstrap: str, namespace: str, notice: Notice) -> None:
    """Send ``notice`` and wait for the broker; raises OperatorError while it does not answer."""
    with KafkaPythonProducer(bootstrap) as producer:
        producer.send(
            in_namespace(namespace, CONTROL),
            key=notice.kind.encode(),
            value=encode_control(notice),
            headers=cloud_event(TYPE_CONTROL, notice.id),
        )
        producer.flush()
