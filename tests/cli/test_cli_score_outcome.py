"""What ``skclipad score`` makes of scores: thresholds, maps, a report, what is said."""

import os
from pathlib import Path

import joblib
import numpy as np
import pytest
from detectors import tiny
from PIL import Image
from tables import page_data, read_rows

from skclipad import RandomWordCLIPDetector, cli
from skclipad.cli import _maps

COLUMNS = ["path", "score", "label", "s_pr", "s_fnn", "s_img", "error"]


def test_a_false_alarm_rate_chooses_the_threshold(photos, detector_file, capsys):
    good = str(photos / "test" / "good")
    arguments = ["score", good, "-d", detector_file, "--normal-dir", good]
    n = len(os.listdir(good))
    for most in (0, 1, n - 1):
        fpr = (most + 1) / (n + 1)
        assert cli.main([*arguments, "--fpr", str(fpr)]) == 0
        output = capsys.readouterr()
        labels = [int(row["label"]) for row in read_rows(output.out)]
        assert sum(labels) == most
        assert f"{most} of {n} normal pictures above it" in output.err
        assert f"with a chance of at most {fpr:g}" in output.err


def test_good_pictures_give_every_picture_a_p_value(photos, detector_file, capsys):
    (photos / "bad.png").write_bytes(b"")
    good = photos / "test" / "good"
    arguments = ["score", str(photos), "-d", detector_file, "--normal-dir", str(good)]
    assert cli.main(arguments) == 3
    output = capsys.readouterr()
    rows = read_rows(output.out)
    assert list(rows[0]) == [*COLUMNS, "p_value"]
    scored = [row for row in rows if not row["error"]]
    normal = [float(r["score"]) for r in scored if str(good) in r["path"]]
    assert len(normal) == 7
    for row in scored:
        # Of two batches: a picture and itself among the normal ones may round apart.
        score, n_as_high = float(row["score"]), float(row["p_value"]) * 8 - 1
        assert n_as_high in range(8)
        assert sum(one > score + 1e-6 for one in normal) <= n_as_high
        assert n_as_high <= sum(one >= score - 1e-6 for one in normal)
    assert [row["p_value"] for row in rows if row["error"]] == [""]
    assert {row["label"] for row in scored} <= {"0", "1"}
    said = f"p_value: how rarely a good picture scores so high, by {len(normal)} in"
    assert said in output.err


def set_scores(monkeypatch, values, dtype=np.float64):
    """Let the pictures of a run have these scores, in their order."""

    def components(self, X):
        rows = [int(os.path.basename(x)[:2]) if isinstance(x, str) else 0 for x in X]
        score = np.array([values[row] for row in rows], dtype)
        return {"s_pr": score, "s_fnn": score}

    monkeypatch.setattr(RandomWordCLIPDetector, "score_components", components)
    monkeypatch.setattr(
        RandomWordCLIPDetector, "combine_components", lambda self, parts: parts["s_pr"]
    )


@pytest.fixture
def close_photos(tmp_path, monkeypatch):
    """Ten pictures whose scores differ in the sixth digit."""
    folder = tmp_path / "close" / "good"
    folder.mkdir(parents=True)
    for i in range(10):
        Image.new("RGB", (8, 8)).save(folder / f"{i:02d}.png")
    set_scores(monkeypatch, [0.43210012 + i * 1e-6 for i in range(10)])
    return folder


@pytest.mark.parametrize("fpr, n_alarms", [(0.1, 0), (0.19, 1), (0.3, 2), (0.9, 8)])
def test_the_printed_threshold_raises_the_promised_false_alarms(
    fpr, n_alarms, close_photos, detector_file, capsys
):
    score = ["score", str(close_photos), "-d", detector_file]
    more = ["--fpr", str(fpr), "--normal-dir", str(close_photos)]
    assert cli.main([*score, *more]) == 0
    said = capsys.readouterr().err
    threshold = said.partition("threshold ")[2].partition(":")[0]
    assert cli.main([*score, "--threshold", threshold]) == 0
    rows = read_rows(capsys.readouterr().out)
    # A new picture is one more: with it 0.19 of 11 are 2, of which it may be one.
    assert sum(int(row["label"]) for row in rows) == n_alarms
    assert f"{n_alarms} of 10 normal pictures above it" in said


def test_the_printed_threshold_of_f1_max_has_that_f1(
    close_photos, detector_file, capsys
):
    bad = close_photos.with_name("bad")
    bad.mkdir()
    for i in range(6, 10):
        (close_photos / f"{i:02d}.png").rename(bad / f"{i:02d}.png")
    score = ["score", str(close_photos.parent), "-d", detector_file]
    assert cli.main([*score, "--labels-from-folders"]) == 0
    threshold = capsys.readouterr().err.rpartition("--threshold ")[2].strip()
    assert cli.main([*score, "--threshold", threshold]) == 0
    rows = read_rows(capsys.readouterr().out)
    assert [int(row["label"]) for row in rows] == ["bad" in r["path"] for r in rows]


def test_f1_max_that_no_threshold_reaches_is_told(
    close_photos, detector_file, monkeypatch, capsys
):
    bad = close_photos.with_name("bad")
    bad.mkdir()
    (close_photos / "00.png").rename(bad / "00.png")
    set_scores(monkeypatch, [0.0] * 10)
    score = ["score", str(close_photos.parent), "-d", detector_file]
    assert cli.main([*score, "--labels-from-folders"]) == 0
    assert "every picture is called anomalous" in capsys.readouterr().err


def test_labels_compare_in_float64_and_scores_read_back(
    close_photos, detector_file, monkeypatch, capsys
):
    scores = [np.float32(0.1), np.float32(0.3), np.float32(0.7)] + [0.0] * 7
    set_scores(monkeypatch, scores, np.float32)
    below = np.nextafter(float(scores[1]), 0)  # to float32 it is the score itself
    for threshold, label in ((below, 1), (float(scores[1]), 0)):
        arguments = ["--threshold", repr(float(threshold))]
        assert (
            cli.main(["score", str(close_photos), "-d", detector_file, *arguments]) == 0
        )
        rows = read_rows(capsys.readouterr().out)
        assert [float(row["score"]) for row in rows[:3]] == list(map(float, scores[:3]))
        assert rows[1]["label"] == str(label)


def test_a_false_alarm_rate_that_takes_more_pictures_is_refused(
    photos, detector_file, capsys
):
    good = photos / "test" / "good"
    arguments = ["--fpr", "0.001", "--normal-dir", str(good)]
    assert cli.main(["score", str(photos), "-d", detector_file, *arguments]) == 1
    output = capsys.readouterr()
    n = len(os.listdir(good))
    assert f"Got --fpr 0.001 and {n} normal images" in output.err
    assert "takes 999 of them at least" in output.err and output.out == ""


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--fpr", "0.1"], "--fpr needs --normal-dir"),
        (["--fpr", "0.1", "--threshold", "0.3"], "not allowed with"),
        (["--fpr", "7"], "between 0 and 1"),
        (["--threshold", "1.2"], "between 0 and 1"),
        (["--heat-maps", "-1"], "'-1' is no whole number of at least 0"),
        (["--heat-maps", "5"], "--heat-maps needs --report"),
        (["--report", "report.pdf"], "a name that ends in .html."),
        (["--report", ""], "Got '' but expected the name of a file"),
        (["-o", "scores.xlsx"], "a name that ends in .csv, .jsonl or .parquet."),
        (["--fpr", "0.1", "--normal-dir", "nowhere"], "nowhere: no such file"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments, reason, photos, detector_file, capsys
):
    assert cli.main(["score", str(photos), "-d", detector_file, *arguments]) == 1
    assert reason in capsys.readouterr().err


def test_normal_pictures_that_cannot_be_read_give_no_threshold(
    photos, detector_file, tmp_path, capsys
):
    (tmp_path / "normal").mkdir()
    (tmp_path / "normal" / "bad.png").write_bytes(b"")
    arguments = ["--fpr", "0.1", "--normal-dir", str(tmp_path / "normal")]
    assert cli.main(["score", str(photos), "-d", detector_file, *arguments]) == 1
    assert "holds no picture that can be scored" in capsys.readouterr().err


def test_maps_are_laid_out_like_the_pictures(photos, detector_file, tmp_path, capsys):
    (photos / "bad.png").write_bytes(b"")
    out = tmp_path / "maps"
    arguments = ["score", str(photos), "-d", detector_file, "--maps", str(out)]
    assert cli.main(arguments) == 3
    rows = [row for row in read_rows(capsys.readouterr().out) if not row["error"]]
    paths = [row["path"] for row in rows]
    expected = joblib.load(detector_file).anomaly_map(paths)
    found = [str(p.relative_to(out)) for p in out.rglob("*.png")]
    assert sorted(found) == sorted(os.path.relpath(p, photos) + ".png" for p in paths)
    for path, values in zip(paths, expected, strict=True):
        with Image.open(out / (os.path.relpath(path, photos) + ".png")) as image:
            drawn = np.asarray(image) / 65535
        np.testing.assert_allclose(drawn, values, atol=1e-4)


def test_a_report_shows_scores_truth_and_the_maps_asked_for(
    photos, detector_file, tmp_path, capsys
):
    (photos / "bad.png").write_bytes(b"")
    target = tmp_path / "report.html"
    arguments = ["score", str(photos), "-d", detector_file, "--threshold", "0.4"]
    arguments += ["--labels-from-folders", "--report", str(target), "--heat-maps", "4"]
    assert cli.main(arguments) == 3
    rows = {row["path"]: row for row in read_rows(capsys.readouterr().out)}
    data = page_data(target)
    assert sorted(data["names"]) == sorted(rows)
    assert data["threshold"] == 0.4
    # The four most anomalous, and usual ones to set them off.
    assert data["hasMap"] == [True] * 4 + [False] * 2 + [True] * 7 + [False]
    assert data["scores"][:13] == sorted(data["scores"][:13], reverse=True)
    for i, name in enumerate(data["names"][:13]):
        assert data["scores"][i] == pytest.approx(float(rows[name]["score"]), abs=1e-6)
        assert data["labels"][i] == int("good" not in name)
    assert data["errors"] == [None] * 13 + ["the file is empty"]
    page = target.read_text(encoding="utf-8")
    assert "skclipad score" in page and "--threshold 0.4" in page


def test_a_reference_is_compared_with_and_drawn_in_the_report(
    photos, detector_file, tmp_path, capsys
):
    table, page = tmp_path / "monday.csv", tmp_path / "r.html"
    score = ["score", str(photos), "-d", detector_file]
    assert cli.main([*score, "-o", str(table)]) == 0
    more = ["--reference", str(table), "--report", str(page)]
    assert cli.main([*score, *more]) == 0
    assert "no drift found: these 13 scores" in capsys.readouterr().err
    assert page_data(page)["reference"]["n"] == 13
    assert cli.main([*score, "--reference", "nowhere.csv"]) == 1
    assert "nowhere.csv" in capsys.readouterr().err


def test_the_end_of_a_run_tells_what_lies_above_and_what_may_be_done_next(
    photos, detector_file, tmp_path, capsys
):
    table = str(tmp_path / "my scores.csv")
    arguments = ["score", str(photos), "-d", detector_file, "-o", table]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().err
    rows = read_rows(Path(table).read_text())
    n_above = sum(row["label"] == "1" for row in rows)
    worst = max(rows, key=lambda row: float(row["score"]))
    assert f"{n_above} picture" in said and "above the threshold 0.5" in said
    assert f"is that of {worst['path']}" in said
    assert "next: label some pictures" in said and f"threshold '{table}' --lab" in said

    assert cli.main([*arguments, "--threshold", "1"]) == 0
    said = capsys.readouterr().err
    assert "0 pictures lie above the threshold 1.0" in said and "next:" not in said


@pytest.fixture
def blocks_of_maps(monkeypatch):
    monkeypatch.setattr(_maps, "BLOCK", 2)


def test_heat_maps_of_the_report_are_announced_and_what_is_next_comes_last(
    photos, detector_file, blocks_of_maps, tmp_path, capsys
):
    table, page = str(tmp_path / "s.csv"), str(tmp_path / "r.html")
    arguments = ["score", str(photos), "-d", detector_file, "-o", table]
    assert cli.main([*arguments, "--report", page, "--heat-maps", "3"]) == 0
    lines = capsys.readouterr().err.splitlines()
    at = lines.index(
        "drawing 10 heat maps for the report, which may take longer than the scores "
        "(--heat-maps N for fewer)"
    )
    assert lines[at + 1].startswith("2 of 10 heat maps drawn, ")
    assert lines[at + 1].endswith(" to go")
    assert lines[-2].startswith(page)
    assert lines[-1].startswith(f"next: label some pictures on {page}, and choose")

    assert cli.main([*arguments, "--report", page, "--heat-maps", "0"]) == 0
    assert "heat maps" not in capsys.readouterr().err


def test_decoding_that_changes_nothing_is_told(
    photos, detector_file, images, tmp_path, capsys
):
    joblib.dump(tiny(n_shots=2).fit(images[:2]), tmp_path / "d.joblib")
    told = "pictures are decoded in full: --decode reduced changes nothing"
    for options, why in (
        (["-d", str(tmp_path / "d.joblib"), "--decode", "reduced"], "with references"),
        (["-d", detector_file, "--decode", "reduced", "--region", "0,0,9,9"], "region"),
        (["-d", str(tmp_path / "d.joblib")], None),
        (["-d", detector_file, "--decode", "reduced"], None),
    ):
        assert cli.main(["score", str(photos), *options]) == 0
        said = capsys.readouterr().err
        assert (told in said) is (why is not None) and (why or "") in said


def test_a_device_that_is_not_there_is_told_once(photos, detector_file, capsys):
    options = ["-d", detector_file, "--device", "cuda:99"]
    assert cli.main(["score", str(photos), *options]) == 1
    assert capsys.readouterr().err.endswith("of type 'cuda'. Use --device 'auto'.\n")


def test_the_report_outlines_the_region(photos, detector_file, tmp_path, capsys):
    page = tmp_path / "report.html"
    arguments = ["score", str(photos), "-d", detector_file, "--report", str(page)]
    assert cli.main([*arguments, "--heat-maps", "0", "--region", "3,2,20,10"]) == 0
    assert '"region": {"said": "20 x 10 pixels of each picture' in page.read_text()
