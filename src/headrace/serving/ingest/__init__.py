"""The event API: what the outside world sends in, on its way to Kafka."""
