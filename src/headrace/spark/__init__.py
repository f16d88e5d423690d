"""Everything that touches Spark: Delta tables, the streaming batch protocol, the batch path."""
