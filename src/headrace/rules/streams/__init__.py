"""Streams: topics of others, and how their messages become events of ours."""

from headrace.rules.streams.model import Stream
from headrace.rules.streams.reading import parse_stream, read_stream
from headrace.rules.streams.spelling import canonical, document

__all__ = ["Stream", "canonical", "document", "parse_stream", "read_stream"]
