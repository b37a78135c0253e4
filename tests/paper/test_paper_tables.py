"""The paper's tables and figures: right cells, all files, a word where none apply."""

import csv
import io
import json
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.paper import (
    Setting,
    figure3,
    figure4,
    figure5,
    make_table,
    paper_results,
    read_captions,
    run_benchmark,
    table_text,
    write_tables,
)
from skclipad.paper._figures import save_figure
from skclipad.paper._plan import METHODS, METRICS, TABLE_3_WORDS, Case


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def invented(
    dataset, categories, *, shots=(0, 1, 2, 4), setting=None, words=TABLE_3_WORDS
):
    """Rows as a run writes them, whose values say what they are about."""
    cases = [Case(setting or Setting(), shots=shots)]
    cases += [
        Case(Setting(*pair), ("CLIP", "CLIP + ours"), ("unknown",), ("multi",))
        for pair in words
    ]
    rows = {}
    for seed in (None, 0, 1):
        for case in cases:
            for row in case.rows(dataset, categories, seed):
                value = (
                    0.5 + 0.01 * (seed or 0) + 0.02 * categories.index(row["category"])
                )
                value += 0.05 * list(METHODS).index(row["method"])
                value += 0.001 * list(METRICS).index(row["metric"])
                rows[tuple(row.values())] = row | {"value": value}
    return list(rows.values())


def mvtec_categories():
    rows = [row["category"] for row in paper_results() if row["table"] == 5]
    return [name.lower().replace(" ", "_") for name in dict.fromkeys(rows)]


def cell(table, row, column):
    cells = dict(table.rows)[row]
    return cells[table.columns.index(column)]


def test_class_wise_cells_are_means_over_seeds_beside_the_papers():
    rows = invented("mvtec_ad", ["bottle", "metal_nut"])
    table = make_table(rows, 5)
    found = cell(table, "metal_nut", "0-shot unknown: CLIP + ours")
    assert found.mean == pytest.approx(100 * (0.5 + 0.02 + 0.1 + 0.005))
    assert found.std == pytest.approx(0.5)
    assert found.n_seeds == 2
    assert (found.paper_mean, found.paper_std) == (96.1, 1.3)
    assert found.difference == pytest.approx(found.mean - 96.1)
    found = cell(table, "bottle", "0-shot unknown: CLIP")
    assert (found.std, found.n_seeds, found.paper_mean) == (None, 0, 99.4)
    assert cell(table, "bottle", "4-shot: WinCLIP").paper_mean == 99.3


def test_deviation_of_the_mean_is_that_of_seeds_not_of_categories():
    rows = invented("mvtec_ad", ["bottle", "metal_nut"])
    found = cell(make_table(rows, 5), "mean", "0-shot unknown: CLIP + ours")
    assert found.mean == pytest.approx(100 * (0.5 + 0.01 + 0.1 + 0.005))
    assert found.std == pytest.approx(0.5)


def test_means_of_some_categories_are_not_set_beside_the_papers():
    table = make_table(invented("mvtec_ad", ["bottle", "metal_nut"]), 1)
    assert all(c.paper_mean is None for _, cells in table.rows for c in cells)
    assert any("2 categories measured" in note for note in table.notes)


def test_means_of_all_categories_are_set_beside_the_papers():
    table = make_table(invented("mvtec_ad", mvtec_categories()), 1)
    assert len(table.rows) == 6 + 5 + 6 + 6
    found = cell(table, "0-shot, object unknown: ours", "MVTec-AD AUPR")
    assert (found.paper_mean, found.paper_std) == (95.4, 0.3)
    found = cell(table, "4-shot: RegAD", "MVTec-AD AUROC")
    assert (found.mean, found.paper_mean) == (None, 88.2)
    assert not any("categories measured" in note for note in table.notes)


def test_tables_2_and_3_show_crops_and_words():
    rows = invented("mvtec_ad", mvtec_categories())
    second = make_table(rows, 2)
    found = cell(second, "MVTec-AD, object known: CLIP", "AUPR")
    assert (found.paper_mean, found.std) == (95.4, None)
    found = cell(second, "MVTec-AD, object known: ours", "AUROC")
    assert found.mean is not None and found.paper_mean is None
    third = make_table(rows, 3)
    found = cell(third, 'MVTec-AD: "a good"', '"a defective" CLIP + ours')
    assert (found.paper_mean, found.paper_std) == (86.3, 0.4)
    assert all(c.mean is not None for _, cells in third.rows for c in cells)


def test_table_4_is_about_sewerml():
    table = make_table(invented("sewerml", ["sewer_pipe"], shots=(0,)), 4)
    found = cell(table, "ours", "F1-max")
    assert (found.paper_mean, found.paper_std) == (77.4, 0.9)
    for number in (1, 2, 3, 5, 8):
        empty = make_table(invented("sewerml", ["sewer_pipe"], shots=(0,)), number)
        assert empty.rows == [] and "Does not apply" in empty.notes[0]


def test_visa_has_tables_of_its_own():
    rows = invented("visa", ["pcb1", "pipe_fryum"])
    assert make_table(rows, 5).rows == []
    found = cell(make_table(rows, 10), "pipe_fryum", "0-shot known: CLIP + ours")
    assert (found.paper_mean, found.paper_std) == (86.9, 1.3)


def test_own_data_have_numbers_and_none_of_the_papers():
    rows = invented("my parts", ["bottle", "nut"])
    for number in (1, 2, 3, 5, 6, 7):
        table = make_table(rows, number)
        cells = [c for _, cells in table.rows for c in cells]
        assert any(c.mean is not None for c in cells)
        assert all(c.paper_mean is None for c in cells)
    assert make_table(rows, 5).title == "Class-wise AUROC"


def test_what_was_not_measured_is_a_dash_or_a_word():
    rows = invented("mvtec_ad", mvtec_categories(), shots=(0,))
    text = table_text(make_table(rows, 1))
    assert "| 1-shot: CLIP + ours | - (93.3 ± 0.5) |" in text
    assert len(make_table(rows, 5).columns) == 10
    own = [row | {"dataset": "my parts"} for row in rows]
    assert len(make_table(own, 5).columns) == 4
    rows = [row for row in rows if row["crops"] == "multi"]
    assert make_table(rows, 2).notes == ["Was not measured in this run."]


def test_other_setting_than_the_papers_is_told():
    rows = invented("my parts", ["nut"], setting=Setting(N_p=200))
    table = make_table(rows, 1)
    assert any("N_p = 200" in note for note in table.notes)
    assert table.rows[1][1][0].mean is not None


def test_results_may_be_a_frame_a_file_or_rows(tmp_path):
    rows = invented("my parts", ["nut"])
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "results.csv", index=False)
    texts = {
        table_text(make_table(results, 1))
        for results in (rows, frame, tmp_path / "results.csv")
    }
    assert len(texts) == 1


def test_files_say_the_same_three_times(tmp_path):
    rows = invented("mvtec_ad", mvtec_categories())
    written = write_tables(rows, tmp_path / "new")
    assert [path.name for path in written[:4]] == [
        *("table1.md", "table1.tex", "table1.csv", "table2.md")
    ]
    assert len(written) == 30
    for number in (5, 8):
        markdown = (tmp_path / f"new/table{number}.md").read_text("utf-8")
        latex = (tmp_path / f"new/table{number}.tex").read_text("utf-8")
        records = (tmp_path / f"new/table{number}.csv").read_text("utf-8")
        records = list(csv.DictReader(io.StringIO(records)))
        if number == 5:
            assert "| metal_nut | " in markdown and r"metal\_nut & " in latex
            assert markdown.count("±") == latex.count(r"\pm")
            row = next(r for r in records if r["row"] == "pill" and r["std"])
            text = f"{float(row['mean']):.1f} ± {float(row['std']):.1f} "
            assert f"{text}({row['paper_mean']} ± {row['paper_std']}; " in markdown
            difference = float(row["mean"]) - float(row["paper_mean"])
            assert float(row["difference"]) == pytest.approx(difference)
        else:
            for text in (markdown, latex, records[0]["note"]):
                assert "Does not apply: it is about VisA" in text


def test_wrong_numbers_and_kinds_are_told():
    with pytest.raises(ValueError, match="number=11"):
        make_table([], 11)
    with pytest.raises(ValueError, match="kind='html'"):
        table_text(make_table([], 1), "html")


# -- figures -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector():
    embedder = CLIPImageEmbedder("tiny", device="cpu")
    return RandomWordCLIPDetector(N_p=40, embedder=embedder, random_state=0).fit()


def test_figure_3_shows_every_prompt_and_is_the_same_again(detector, tmp_path):
    figure = figure3(detector, n_pairs=15)
    assert [point["anomalous"] for point in figure.points] == [0] * 15 + [1] * 15
    drawn = np.concatenate([c.get_offsets() for c in figure.axes[0].collections])
    assert len(drawn) == 30 and np.isfinite(drawn).all()
    save_figure(figure, tmp_path / "a", "figure3")
    save_figure(figure3(detector, n_pairs=15), tmp_path / "b", "figure3")
    for name in ("figure3.png", "figure3.csv"):
        a, b = (tmp_path / folder / name for folder in "ab")
        assert a.read_bytes() == b.read_bytes()


def test_figure_5_shows_clip_and_every_layer(detector, tmp_path):
    path = tmp_path / "captions.json"
    captions = ["A normal cat.", "A damaged car.", "A normal dog.", "Storm DAMAGE"]
    captions += ["A damaged but normal thing.", "A cat.", "abnormal", "A normal cat."]
    path.write_text(json.dumps({"annotations": [{"caption": c} for c in captions]}))
    sentences = read_captions(path)
    assert sentences == {
        "normal": ["A normal cat.", "A normal dog."],
        "anomaly": ["A damaged car.", "Storm DAMAGE"],
    }
    figure = figure5(detector, sentences, n_pairs=10)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["CLIP", "layer 1", "layer 2", "layer 3"]
    points = pd.DataFrame(figure.points)
    assert len(points) == 4 * (20 + 4)
    assert points.groupby(["kind", "anomalous"]).size().tolist() == [40, 40, 8, 8]


@pytest.mark.parametrize("content", ["[1]", '{"annotations": [{"caption": "A cat."}]}'])
def test_other_files_than_captions_are_told(tmp_path, content):
    path = tmp_path / "captions.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="captions"):
        read_captions(path)


def test_figure_4_shows_means_over_categories(tmp_path):
    rows = []
    for n_pairs in (100, 1000):
        setting = Setting(N_p=n_pairs)
        rows += invented("my parts", ["nut", "bolt"], setting=setting, words=())
    figure = figure4(rows)
    points = {(p["method"], p["N_p"]): p for p in figure.points}
    ours = {(m, n) for m in ("ours", "CLIP + ours") for n in (100, 1000)}
    assert set(points) == {("CLIP", None), *ours}
    assert points["ours", 100]["mean"] == pytest.approx(100 * (0.5 + 0.015 + 0.05))
    assert points["ours", 100]["std"] == pytest.approx(0.5)
    lines = [line.get_xdata() for line in figure.axes[0].get_lines()]
    assert [100, 1000] in [list(x) for x in lines]


def test_figure_4_needs_one_data_set_and_a_network():
    rows = invented("one", ["nut"], shots=(0,))
    with pytest.raises(ValueError, match="several data sets"):
        figure4(rows + invented("two", ["nut"], shots=(0,)))
    with pytest.raises(ValueError, match="no rows of a network"):
        figure4([row for row in rows if row["method"] == "CLIP"])


def test_missing_matplotlib_is_told(monkeypatch, detector):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skclipad\[benchmark\]"'):
        figure3(detector)


# -- measured ----------------------------------------------------------------------


def test_table_of_a_run_holds_its_values(tmp_path):
    photos = make_defect_images(20, categories=["wood", "coin"], random_state=3)
    embedder = CLIPImageEmbedder("tiny", device="cpu")
    results = run_benchmark(
        Bunch(**photos, name="painted"),
        detector=RandomWordCLIPDetector(N_p=40, embedder=embedder),
        seeds=2,
        setups="unknown",
    )
    where = "setup == 'unknown' and crops == 'multi' and metric == 'f1_max'"
    ours = results.query(where + " and method == 'ours'")
    means = 100 * ours.groupby("seed").value.mean()
    found = cell(make_table(results, 7), "mean", "0-shot unknown: CLIP + ours")
    assert found.mean is not None
    found = cell(
        make_table(results, 1), "0-shot, object unknown: ours", "painted F1-max"
    )
    assert found.mean == pytest.approx(means.mean())
    assert found.std == pytest.approx(means.std(ddof=0))
