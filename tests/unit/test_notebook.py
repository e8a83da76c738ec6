"""The tutorial notebook runs in a real kernel, and shows its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import osgbatch

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "tutorial.ipynb"


@pytest.mark.usefixtures("calls_can_run")
@pytest.mark.filterwarnings("ignore")
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(Path(osgbatch.__file__).parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [o["data"]["text/html"] for o in outputs if "text/html" in o.get("data", {})]
    assert len(shown) >= 2
    assert "8 tasks" in shown[0]
    assert "<th>succeeded</th>" in shown[-1]
    printed = "".join(o["text"] for o in outputs if o["output_type"] == "stream")
    assert "call 1 (20, 0) failed: ZeroDivisionError: division by zero" in printed
    assert not [o for o in outputs if o["output_type"] == "error"]
    waited = next(cell for cell in notebook.cells if cell.source == "results.wait()")
    assert [o["output_type"] for o in waited.outputs] == ["display_data"]  # one table, not two
    assert outputs[-1]["data"]["text/plain"] == "[0, 1, 4, 9]"
