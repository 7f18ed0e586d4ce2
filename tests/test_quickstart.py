"""Test of the tutorial notebook: every cell runs, in a temporary folder, and shows what its text promises."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


def test_the_notebook_is_small_and_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert NOTEBOOK.stat().st_size < 20_000
    assert max(len("".join(cell["source"]).splitlines()) for cell in code) <= 12


def test_the_notebook_runs(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install '.[dev]'")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install '.[dev]'")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install '.[dev]'")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = list(outputs(notebook.cells))
    assert not [output for output in shown if output["output_type"] == "stream" and output["name"] == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 1
    assert sum("text/html" in output.get("data", {}) for output in shown) == 4
    work = tmp_path / "quickstart"
    assert (work / "lv.stl").stat().st_size > 10_000
    assert len(list((work / "out" / "labels").glob("*.nii.gz"))) == 4
    assert len(list((work / "dataset" / "labels").glob("*.nii.gz"))) == 4
    assert "A. Radiologist" in (work / "dataset" / "decisions.csv").read_text(encoding="utf-8")


def outputs(cells: list[Any]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        yield from cell.get("outputs", [])
