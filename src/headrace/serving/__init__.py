"""The HTTP API: who is in which segment, by user and by segment."""
