"""The essays of the gallery run, say what they measured, and end in a conclusion."""

import re
import runpy
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
ESSAYS = sorted(EXAMPLES.glob("plot_*.py"))
ORDER = re.findall(r'"(plot_\w+\.py)"', (EXAMPLES.parent / "docs/conf.py").read_text())


@pytest.fixture
def canvas(monkeypatch):
    """A matplotlib that draws to nowhere, and figures that are closed in the end."""
    before = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


def test_the_gallery_has_an_order_for_all_of_them():
    assert {path.name for path in ESSAYS} <= set(ORDER)


@pytest.mark.parametrize("path", ESSAYS, ids=lambda path: path.stem)
def test_essay_runs_and_prints_its_figures(path, canvas, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        # One essay shows what a file does that is no picture.
        warnings.filterwarnings("ignore", ".*could not be read", UserWarning)
        runpy.run_path(str(path))
    assert re.search(r"\d", capsys.readouterr().out)
    assert plt.get_fignums()
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


@pytest.mark.parametrize("path", ESSAYS, ids=lambda path: path.stem)
def test_essay_ends_in_a_conclusion_and_states_no_figure_of_its_own(path):
    text = path.read_text(encoding="utf-8")
    prose = [line for line in text.splitlines() if line.startswith("#")]
    headings = [a for a, b in zip(prose, prose[1:], strict=False) if "# ---" in b]
    assert headings[-1] == "# Conclusion"
    # What is measured is printed: the bundled weights change, prose does not.
    words = re.sub(r"``.*?``", "", " ".join(prose))  # without code
    assert not re.search(r"\b0\.\d{2,}", words)
