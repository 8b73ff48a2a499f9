"""Notebooks: the bar, what shows itself, and the example notebook."""
from __future__ import annotations

import json
import sys
from typing import Any, List

import pytest

import cm3leon
from cm3leon import notebook

from conftest import SENTENCE, SOURCE

NOTEBOOK = SOURCE / "examples/python/cm3leon.ipynb"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> List[Any]:
    """IPython as a kernel runs it; what is displayed, in order."""
    import IPython
    import IPython.display

    shown: List[Any] = []

    class Shell:
        kernel = object()

    class Handle:
        def update(self, what: Any) -> None:
            shown.append(what.data)

    def display(what: Any, display_id: bool = False) -> Handle:
        shown.append(getattr(what, "data", what))  # HTML's, or a picture
        return Handle()

    monkeypatch.setattr(IPython, "get_ipython", Shell)
    monkeypatch.setattr(IPython.display, "display", display)
    return shown


def test_bar_in_a_notebook(model: cm3leon.Model, kernel: List[Any]) -> None:
    assert notebook.in_notebook()
    model.generate(SENTENCE, seed=7)
    tokens = model.tokenizer.info.image_tokens
    assert f'<progress value="{tokens}" max="{tokens}">' in kernel[-2]
    assert kernel[-1] == ""  # gone when it is done
    del kernel[:]
    model.caption(cm3leon.Image(96, 96), progress=False)
    assert kernel == []


def test_bar_elsewhere(model: cm3leon.Model, capsys: pytest.CaptureFixture[str]) -> None:
    assert not notebook.in_notebook()
    model.generate(SENTENCE, seed=7)
    assert capsys.readouterr() == ("", "")
    model.generate(SENTENCE, seed=7, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "tokens" in err and "#" in err


def test_what_shows_itself(model: cm3leon.Model, drawn: cm3leon.Result) -> None:
    from IPython.core.formatters import DisplayFormatter

    formats, _ = DisplayFormatter().format(drawn.image)
    assert formats["image/png"].startswith(b"\x89PNG")
    formats, _ = DisplayFormatter().format(drawn)
    assert formats["text/html"].count("<img") == 1
    assert "&lt;b&gt;" in notebook._candidate_html(cm3leon.Candidate(["<b>"], [], [], []))


@pytest.mark.usefixtures("one_core")
def test_example_notebook(kernel: List[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Its cells, one after the other."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            exec(compile("".join(cell["source"]), "cell", "exec"), names)
    assert any("<progress" in str(what) for what in kernel)
    assert any(isinstance(what, cm3leon.Image) for what in kernel)


@pytest.mark.long
@pytest.mark.usefixtures("one_core")
def test_example_notebook_in_a_kernel(tmp_path: Any) -> None:
    """The real thing, where nbclient and ipykernel are installed (tests/run.py --wheel installs them)."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output["output_type"] == "error" for output in outputs)
