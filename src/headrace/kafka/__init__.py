"""Kafka: one protocol, two clients. kafka-python for topics and low rates, confluent for rates."""

import logging

# Both clients report trouble by raising; their own logs of it would say everything twice.
logging.getLogger("kafka").setLevel(logging.CRITICAL)
