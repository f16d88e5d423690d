"""Databases of others: their tables, and the connectors that carry changes of rows to Kafka."""
