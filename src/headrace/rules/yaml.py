"""The YAML spelling of rules: text -> model -> text, and the hash that names a meaning.

``parse(print(rule)) == rule``; comments, order of keys and formatting leave the canonical text,
and so the content hash, as they are.
"""

from __future__ import annotations

import hashlib

from headrace.errors import RuleError
from headrace.rules.catalog import Catalog
from headrace.rules.documents import read_catalog, read_segment
from headrace.rules.model import Segment
from headrace.rules.printer import print_catalog, print_rule, print_segment


def parse_segment(text: str, file: str = "<text>") -> Segment:
    """The segment that ``text`` (YAML or JSON) spells; RuleError holds every problem."""
    read = read_segment(text, file)
    if read.problems or read.segment is None:
        raise RuleError(read.problems)
    return read.segment


def parse_catalog(text: str, file: str = "<text>") -> Catalog:
    """The catalog that ``text`` spells; RuleError holds every problem."""
    read = read_catalog(text, file)
    if read.problems:
        raise RuleError(read.problems)
    return read.catalog


def canonical(rule: Segment | Catalog) -> str:
    """The one text of this meaning. Tests are beside a rule, not of it: they are left out."""
    return print_rule(rule) if isinstance(rule, Segment) else print_catalog(rule)


def content_hash(rule: Segment | Catalog) -> str:
    """SHA-256 of the canonical text, in hex."""
    return hashlib.sha256(canonical(rule).encode()).hexdigest()


__all__ = [
    "canonical", "content_hash", "parse_catalog", "parse_segment", "print_catalog",
    "print_segment", "read_catalog", "read_segment",
]  # fmt: skip
