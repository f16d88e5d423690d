"""Composition of each process: settings in, parts put together, one loop."""
