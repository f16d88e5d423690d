"""The plan: what all active versions of all segments compile to. Pure."""
