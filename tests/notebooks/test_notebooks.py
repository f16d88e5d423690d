"""The notebooks, as committed and as they run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

HERE = Path(__file__).parent
NOTEBOOKS = sorted((HERE.parents[1] / "notebooks").glob("*.ipynb"))


def read(file):
    return nbformat.read(file, as_version=4)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_is_committed_without_outputs(file):
    for cell in read(file).cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell.source


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """profiles_and_transitions run over a small lake: what each cell showed, by cell id."""
    book = read(HERE.parents[1] / "notebooks" / "profiles_and_transitions.ipynb")
    position = next(
        i for i, cell in enumerate(book.cells) if "session" in cell.metadata.get("tags", ())
    )
    fill = f"import sys; sys.path.append({str(HERE)!r})\nimport lake as small_lake\n"
    fill += "small_lake.write_lake(spark, settings.tables_root)"
    book.cells.insert(position + 1, nbformat.v4.new_code_cell(fill, id="fill"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_HOME", str(tmp_path_factory.mktemp("home")))
        client = NotebookClient(book, timeout=120, resources={"metadata": {"path": str(HERE)}})
        client.execute()
    return {cell.id: cell.get("outputs", []) for cell in book.cells}


def text(outputs):
    return "\n".join(output["data"]["text/plain"] for output in outputs if "data" in output)


def lines(outputs):
    return [line.split() for line in text(outputs).splitlines()]


def test_segments_have_their_sizes(shown):
    assert ["german", "2.0"] in lines(shown["sizes"])
    assert ["high_value", "1.0"] in lines(shown["sizes"])


def test_the_newest_row_of_a_user_is_the_profile(shown):
    assert [line[1:3] for line in lines(shown["profiles"])[1:]] == [
        ["DE", "2"],
        ["None", "1"],
    ]


def test_reasons_are_counted(shown):
    header, *rows = lines(shown["reasons"])
    assert header == ["segment", "change", "event", "time", "trait"]
    assert ["1", "high_value", "enter", "2.0", "0.0", "0.0"] in rows
    assert ["2", "high_value", "exit", "0.0", "1.0", "0.0"] in rows


def test_the_busiest_user_has_a_history(shown):
    story = text(shown["user"])
    assert [word for word in ("enter", "exit", "time", "trait") if word not in story] == []


def test_there_is_a_picture(shown):
    assert any("image/png" in output.get("data", {}) for output in shown["picture"])
