"""Folders of rules for tests, written from a few lines."""

from __future__ import annotations

from pathlib import Path

CATALOG = """\
apiVersion: headrace/v1
kind: Catalog
events:
  purchase:
    properties:
      amount: {type: decimal}
traits:
  country: {type: string}
"""


def segment(id: str, match: str) -> str:
    """The text of a segment."""
    return (
        f"apiVersion: headrace/v1\nkind: Segment\nmetadata: {{id: {id}}}\nspec:\n  match: {match}\n"
    )


def spenders(more_than: int) -> str:
    """A condition that needs a sum of purchases."""
    return f"{{event: purchase, sum: amount, within: 30 days, gt: {more_than}}}"


def write_rules(folder: Path, segments: dict[str, str], catalog: str = CATALOG) -> Path:
    """``folder`` with exactly these segments: id -> condition."""
    (folder / "segments").mkdir(parents=True, exist_ok=True)
    for old in (folder / "segments").glob("*.yaml"):
        old.unlink()
    (folder / "catalog.yaml").write_text(catalog)
    for id, match in segments.items():
        (folder / "segments" / f"{id}.yaml").write_text(segment(id, match))
    return folder
