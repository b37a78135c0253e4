"""``skclipad benchmark``: from a folder to tables, figures and an index."""

import argparse
import ast
import json
import os
from importlib import import_module
from pathlib import Path

import joblib
import numpy as np
import pytest

import skclipad
from skclipad import cli
from skclipad._method.prompt_embeddings import clear_prompt_cache
from skclipad.datasets import (
    make_defect_images,
    write_mvtec_layout,
    write_visa_layout,
)
from skclipad.paper import read_results
from skclipad.paper._command import add_arguments, run
from skclipad.paper._measure import Benchmark

QUICK = [*("--model", "tiny", "--device", "cpu", "--n-pairs", "40", "--seeds", "1")]
QUICK += [*("--sweep", "20", "40", "--shown", "20")]


def command(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(autouse=True)
def quick_texts(monkeypatch):
    """Texts have any embedding: what is measured is the subject of other tests."""

    def encode(backbone, texts, verbose):
        rng = np.random.default_rng([sum(map(ord, text)) for text in texts])
        return rng.normal(size=(len(texts), 96)).astype(np.float32)

    monkeypatch.setattr(import_module("skclipad._embedder"), "encode_texts", encode)
    clear_prompt_cache()
    yield
    clear_prompt_cache()


@pytest.fixture(scope="module")
def painted():
    return make_defect_images(28, categories=["wood", "coin"], random_state=5)


def test_mvtec_layout_gives_every_table_and_figure(painted, tmp_path, capsys):
    root, out = tmp_path / "data", tmp_path / "out"
    captions = tmp_path / "captions.json"
    write_mvtec_layout(painted, root, n_train=4)
    sentences = [f"A {word} cup, {i}." for word in ("normal", "damaged") for i in "abc"]
    captions.write_text(
        json.dumps({"annotations": [{"caption": s} for s in sentences]})
    )
    where = ["--dataset", "mvtec", "--root", root, "--out", out, *QUICK]
    assert command(*where, "--captions", captions) == 0
    expected = {f"table{n}.{s}" for n in range(1, 11) for s in ("md", "tex", "csv")}
    expected |= {f"figure{n}.{s}" for n in (3, 4, 5) for s in ("png", "csv")}
    expected |= {"index.md", "results.csv", "settings.json"}
    assert expected <= {path.name for path in out.iterdir()}
    assert capsys.readouterr().out == f"{out / 'index.md'}\n"
    index = (out / "index.md").read_text("utf-8")
    assert "Nothing here reproduces the paper" in index
    assert "| wood | " in index and "table1.md" in index
    assert "paired over 2 categories" in index
    rows = read_results(out / "results.csv")
    assert {row["shots"] for row in rows} == {0, 1, 2, 4}
    assert len({row["normal_word"] for row in rows}) == 1 + 4
    for number in (1, 2, 3, 5, 6, 7):
        text = (out / f"table{number}.md").read_text("utf-8")
        assert "Does not apply" not in text and " ± " in text
        assert "Nothing here reproduces the paper" in text
    for number in (4, 8, 9, 10):
        assert "Does not apply" in (out / f"table{number}.md").read_text("utf-8")

    content = (out / "results.csv").read_bytes()
    command(*where, "--tables", "1", "--figures", "4")
    assert (out / "results.csv").read_bytes() == content
    assert "nothing was computed" in (out / "index.md").read_text("utf-8")


def test_visa_layout_gives_its_own_tables(painted, tmp_path):
    root, out = tmp_path / "data", tmp_path / "out"
    write_visa_layout(painted, root, n_train=1)
    options = ["--tables", "8", "10", "--figures", "--shots", "0", "1"]
    options += ["--categories", "wood"]
    assert (
        command("--dataset", "visa", "--root", root, "--out", out, *QUICK, *options)
        == 0
    )
    text = (out / "table8.md").read_text("utf-8")
    assert "| wood | " in text and "coin" not in text
    assert not (out / "table1.md").exists() and not (out / "figure3.png").exists()


def test_folder_without_training_images_has_no_few_shot_scores(
    painted, tmp_path, capsys
):
    root, out = tmp_path / "data", tmp_path / "out"
    write_mvtec_layout(painted, root)
    options = ["--tables", "1", "--figures"]
    assert (
        command("--dataset", "folder", "--root", root, "--out", out, *QUICK, *options)
        == 0
    )
    assert "No few-shot scores" in capsys.readouterr().err
    assert {row["shots"] for row in read_results(out / "results.csv")} == {0}
    assert "data AUROC" in (out / "table1.md").read_text("utf-8")


def test_an_error_after_the_beginning_is_told_with_what_is_kept(
    painted, tmp_path, monkeypatch, capsys
):
    root, out = tmp_path / "data", tmp_path / "out"
    write_mvtec_layout(painted, root)

    def fail(*args):
        raise ValueError("what no argument can mend")

    where = ["--dataset", "folder", "--root", str(root), "--out", str(out), *QUICK]
    options = ["--tables", "1", "--figures", "--shots", "0"]
    monkeypatch.setattr(Benchmark, "_inspect", fail)
    assert cli.main(["benchmark", *where, *options]) == 4
    said = capsys.readouterr().err
    assert "stopped: what no argument can mend" in said
    assert f"rows that were measured are in {out / 'results.csv'}; the same" in said
    (out / "settings.json").write_text("{}", encoding="utf-8")
    assert cli.main(["benchmark", *where, *options]) == 1  # refused, not stopped


def test_missing_data_are_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        command(
            "--dataset", "mvtec", "--root", tmp_path / "no", "--out", tmp_path / "o"
        )
    assert not (tmp_path / "o").exists()


# What lies in the output folder is data


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def measured(painted, tmp_path, monkeypatch):
    """A function that measures and draws Figure 5; and the folder it writes to."""
    figures = import_module("skclipad.paper._figures")
    # Where the points lie does not matter here, and t-SNE takes seconds.
    monkeypatch.setattr(figures, "_lay_out", lambda features, seed: features[:, :2])
    root, out = tmp_path / "data", tmp_path / "out"
    write_mvtec_layout(painted, root)
    where = ["--dataset", "folder", "--root", root, "--out", out, *QUICK]
    options = ["--tables", "1", "--figures", "5", "--categories", "coin"]

    def measure():
        assert command(*where, *options, "--shots", "0") == 0
        return (out / "figure5.csv").read_bytes()

    return measure, out


def count_fits(monkeypatch):
    detector, fits = skclipad.RandomWordCLIPDetector, []
    fit = detector.fit

    def counted(self, *args):
        fits.append(self)
        return fit(self, *args)

    monkeypatch.setattr(detector, "fit", counted)
    return fits


def test_nothing_in_the_output_folder_is_unpickled(measured, tmp_path, monkeypatch):
    measure, out = measured
    figure = measure()
    mark = tmp_path / "mark"
    joblib.dump(Bomb(str(mark)), out / "detector.joblib")
    fits = count_fits(monkeypatch)
    assert measure() == figure
    assert fits == []  # the network is kept as plain numbers
    np.savez(out / "network.npz", trained_on=np.array([Bomb(str(mark))], object))
    os.remove(out / "figure5.csv")
    assert measure() == figure
    assert len(fits) == 1
    assert not mark.exists()


def test_a_kept_network_that_is_damaged_is_trained_again(measured, monkeypatch):
    measure, out = measured
    figure = measure()
    kept = out / "network.npz"
    kept.write_bytes(kept.read_bytes()[:-30])
    fits = count_fits(monkeypatch)
    assert measure() == figure and len(fits) == 1


def test_detectors_are_unpickled_in_one_place_the_file_that_is_named():
    package = Path(skclipad.__file__).parent
    callers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("joblib.load", "pickle.load", "pickle.loads")
    }
    assert callers == {str(Path("cli", "_detectors.py"))}
