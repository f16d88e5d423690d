"""What crosses Kafka: the topics, and the JSON of every message on them."""
