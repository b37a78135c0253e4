"""``skclipad score``: tables, reports, maps, thresholds, and what goes wrong."""

import io
import json
import os
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from detectors import tiny
from pictures import fill
from PIL import Image
from tables import page_data, read_rows, read_table

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, cli
from skclipad.cli import _detectors, _maps, _score
from skclipad.metrics import aupr, auroc, f1_max

TINY = ["--model", "tiny", "--n-pairs", "200"]
COLUMNS = ["path", "score", "label", "s_pr", "s_fnn", "s_img", "error"]


@pytest.fixture
def photos(tmp_path, bunch):
    """A folder in MVTec's layout, test/good and test/crack, and one picture above."""
    images = bunch.images[:12]
    for i, (image, target) in enumerate(zip(images, bunch.target, strict=False)):
        folder = tmp_path / "photos" / "test" / ("crack" if target else "good")
        fill(folder, [image], start=i)
    Image.fromarray(bunch.images[0]).save(tmp_path / "photos" / "top.JPG")
    return tmp_path / "photos"


def test_score_writes_one_row_a_picture_sorted_folder_by_folder(
    photos, detector_file, tmp_path
):
    output = tmp_path / "scores.csv"
    code = cli.main(["score", str(photos), "-d", detector_file, "-o", str(output)])
    assert code == 0
    rows = read_table(output)
    assert list(rows[0]) == COLUMNS
    paths = [str(photos / "top.JPG"), *sorted(map(str, photos.glob("test/*/*")))]
    assert [row["path"] for row in rows] == paths and len(paths) == 13
    detector = joblib.load(detector_file)
    expected = dict(detector.score_components(paths))
    expected["score"] = detector.predict_proba(paths)[:, 1]
    for name, scores in expected.items():
        assert [float(row[name]) for row in rows] == pytest.approx(scores, abs=1e-6)
    assert [int(row["label"]) for row in rows] == detector.predict(paths).tolist()
    assert {row["error"] for row in rows} == {""}


def test_score_in_blocks_equals_score_at_once(photos, detector_file, blocks_of, capsys):
    arguments = ["score", str(photos), "-d", detector_file, "--batch-size", "3"]
    assert cli.main(arguments) == 0
    at_once = read_rows(capsys.readouterr().out)
    blocks_of(5)
    assert cli.main(arguments) == 0
    in_blocks = read_rows(capsys.readouterr().out)
    assert [row["path"] for row in in_blocks] == [row["path"] for row in at_once]
    assert [float(row["score"]) for row in in_blocks] == pytest.approx(
        [float(row["score"]) for row in at_once], abs=1e-6
    )


def test_a_detector_with_references_tells_their_score_too(
    photos, detector_file, tmp_path, capsys
):
    paths = list(map(str, photos.glob("test/*/*")))
    normal = [path for path in paths if "good" in path]
    detector = joblib.load(detector_file).set_params(n_shots=2).fit(normal)
    joblib.dump(detector, tmp_path / "shots.joblib")
    arguments = ["score", *paths, "-d", str(tmp_path / "shots.joblib")]
    assert cli.main([*arguments, "--labels-from-folders"]) == 0
    output = capsys.readouterr()
    rows = read_rows(output.out)
    assert list(rows[0]) == COLUMNS
    expected = detector.score_components(paths).s_img
    assert [float(row["s_img"]) for row in rows] == pytest.approx(expected, abs=1e-5)
    assert "\ns_img " in output.err


@pytest.mark.parametrize(
    "settings",
    [
        {"scores": ("fnn",)},
        {"embedder__crops": "multi"},
        {"embedder__crops": "multi", "scores": ("prompt",), "n_shots": 1},
    ],
)
def test_score_is_what_predict_proba_says(
    settings, photos, detector_file, tmp_path, capsys
):
    paths = sorted(map(str, photos.glob("test/*/*")))
    detector = joblib.load(detector_file).set_params(**settings)
    detector.fit([path for path in paths if "good" in path])
    joblib.dump(detector, tmp_path / "d.joblib")
    assert cli.main(["score", *paths, "-d", str(tmp_path / "d.joblib")]) == 0
    rows = read_rows(capsys.readouterr().out)
    expected = detector.predict_proba(paths)[:, 1]
    assert [float(row["score"]) for row in rows] == pytest.approx(expected, abs=1e-6)
    assert [int(row["label"]) for row in rows] == detector.predict(paths).tolist()


def test_score_without_a_detector_fits_one_with_the_settings_given(
    photos, detector_file, capsys
):
    assert cli.main(["score", str(photos), *TINY]) == 0
    fitted = capsys.readouterr().out
    assert cli.main(["score", str(photos), "-d", detector_file]) == 0
    assert capsys.readouterr().out == fitted


def test_bad_pictures_get_their_reason_and_the_others_their_scores(
    photos, detector_file, capsys
):
    good = sorted((photos / "test" / "good").iterdir())
    (photos / "a_text.png").write_text("no picture", encoding="utf-8")
    (photos / "b_empty.jpg").write_bytes(b"")
    (photos / "c_half.png").write_bytes(good[0].read_bytes()[:200])
    (photos / "notes.txt").write_text("not looked at", encoding="utf-8")
    missing = str(photos / "missing.png")
    code = cli.main(["score", missing, str(photos), "-d", detector_file])
    assert code == 3
    output = capsys.readouterr()
    rows = read_rows(output.out)
    assert len(rows) == 4 + 13
    bad = {os.path.basename(row["path"]): row for row in rows if row["error"]}
    assert list(bad) == ["missing.png", "a_text.png", "b_empty.jpg", "c_half.png"]
    assert "No such file" in bad["missing.png"]["error"]
    assert "not an image" in bad["a_text.png"]["error"]
    assert "empty" in bad["b_empty.jpg"]["error"]
    for row in bad.values():
        assert row["score"] == row["label"] == row["s_pr"] == row["s_fnn"] == ""
        assert "on_error" not in row["error"]
    assert all(row["score"] for row in rows if not row["error"])
    said = output.err
    assert "13 of 17 pictures scored" in said and "4 pictures have no score:" in said
    for row in bad.values():
        assert f"  {row['path']}: {row['error']}" in said


def test_a_picture_that_can_be_read_only_later_has_no_score(
    photos, detector_file, monkeypatch, capsys
):
    score_components = RandomWordCLIPDetector.score_components

    def unread(self, X):
        components = score_components(self, X)
        return {name: column * np.nan for name, column in components.items()}

    monkeypatch.setattr(RandomWordCLIPDetector, "score_components", unread)
    assert cli.main(["score", str(photos), "-d", detector_file]) == 2
    rows = read_rows(capsys.readouterr().out)
    assert {row["error"] for row in rows} == {"not readable at first, but it is now"}


def test_nothing_scored_exits_with_2(tmp_path, detector_file, capsys):
    assert cli.main(["score", str(tmp_path), "-d", detector_file]) == 2
    assert "no pictures found" in capsys.readouterr().err
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert cli.main(["score", str(broken), "-d", detector_file]) == 2
    (row,) = read_rows(capsys.readouterr().out)
    assert row["path"] == str(broken) and row["error"]


def test_of_many_failures_the_first_are_named(tmp_path, detector_file, capsys):
    for i in range(9):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    assert cli.main(["score", str(tmp_path), "-d", detector_file]) == 2
    said = capsys.readouterr().err
    assert "9 pictures have no score:" in said
    assert said.count("not an image") == 5 and "4.png" in said and "5.png" not in said


@pytest.mark.parametrize("name", ["photoz", "photoz/*.png", "photo.png"])
def test_a_slip_in_every_name_leaves_the_table_alone(
    name, tmp_path, detector_file, capsys
):
    table = tmp_path / "scores.csv"
    table.write_text("of last night", encoding="utf-8")
    name = str(tmp_path / name)
    assert cli.main(["score", name, "-d", detector_file, "-o", str(table)]) == 1
    assert f"{name}: no such file or folder" in capsys.readouterr().err
    assert table.read_text(encoding="utf-8") == "of last night"


def test_a_region_is_all_that_is_scored(photos, detector_file, tmp_path, capsys):
    paths = sorted(map(str, photos.glob("test/*/*")))
    arguments = ["score", *paths, "-d", detector_file, "--region", "8,16,40,32"]
    report = tmp_path / "r.html"
    assert cli.main([*arguments, "--report", str(report)]) == 0
    rows = read_rows(capsys.readouterr().out)
    detector = joblib.load(detector_file)
    cut = [np.asarray(Image.open(path))[16:48, 8:48] for path in paths]
    expected = detector.predict_proba(cut)[:, 1]
    assert [float(row["score"]) for row in rows] == pytest.approx(expected, abs=1e-6)
    assert "8,16,40,32" in report.read_text(encoding="utf-8")


def test_a_picture_that_a_region_does_not_fit_says_so(photos, detector_file, capsys):
    Image.new("RGB", (20, 20)).save(photos / "small.png")
    arguments = ["score", str(photos), "-d", detector_file, "--region", "8,16,40,32"]
    assert cli.main(arguments) == 3
    (bad,) = (r for r in read_rows(capsys.readouterr().out) if r["error"])
    assert bad["path"].endswith("small.png")
    assert "it has 20 x 20 pixels, but the region reaches to 48 x 48" in bad["error"]


@pytest.mark.parametrize("region", ["0,0,0,9", "gone.png"])
def test_what_is_no_region_is_refused(region, photos, detector_file, capsys):
    arguments = ["score", str(photos), "-d", detector_file, "--region", region]
    assert cli.main(arguments) == 1
    assert f"--region {region!r}" in capsys.readouterr().err


def test_another_region_is_another_run(photos, detector_file, tmp_path, capsys):
    arguments = ["score", str(photos), "-d", detector_file, "--update"]
    arguments += ["-o", str(tmp_path / "s.csv"), "--region"]
    assert cli.main([*arguments, "0,0,40,32"]) == 0
    assert cli.main([*arguments, "0,0,32,40"]) == 1
    said = capsys.readouterr().err
    assert "embedder__region was 0,0,40,32 and is 0,0,32,40" in said


def test_threshold_moves_the_labels_and_not_the_scores(photos, detector_file, capsys):
    tables = []
    for threshold in ("0", "1"):
        arguments = ["score", str(photos), "-d", detector_file]
        assert cli.main([*arguments, "--threshold", threshold]) == 0
        tables.append(read_rows(capsys.readouterr().out))
    assert [[row.pop("label") for row in table] for table in tables] == [
        ["1"] * 13,
        ["0"] * 13,
    ]
    assert tables[0] == tables[1]


def test_labels_from_folders_gives_the_figures_of_the_table(
    photos, detector_file, capsys
):
    arguments = ["score", str(photos / "test"), "-d", detector_file]
    assert cli.main([*arguments, "--labels-from-folders"]) == 0
    output = capsys.readouterr()
    rows = read_rows(output.out)
    y_true = ["crack" in row["path"] for row in rows]
    for name in ("s_pr", "s_fnn", "score"):
        scores = [float(row[name]) for row in rows]
        figures = [metric(y_true, scores) for metric in (auroc, aupr, f1_max)]
        (line,) = [x for x in output.err.splitlines() if x.startswith(f"{name} ")]
        assert line.split() == [name, *(f"{figure:.3f}" for figure in figures)]
    n_good = y_true.count(False)
    assert f"{n_good} normal pictures, in good; {sum(y_true)} anomalous" in output.err
    _, threshold = f1_max(y_true, scores, return_threshold=True)
    assert f"reached with --threshold {threshold!r}\n" in output.err
    worse = auroc(y_true, scores) < 0.5
    assert ("Below 0.5 is worse" in output.err) == worse


def test_scores_that_are_worse_than_chance_are_told(photos, detector_file, capsys):
    seen = []
    for good in ("good", "crack"):  # one of the two ways round is below 0.5
        arguments = ["score", str(photos / "test"), "-d", detector_file]
        arguments += ["--labels-from-folders", "--good", good]
        assert cli.main(arguments) == 0
        seen.append("Below 0.5 is worse" in capsys.readouterr().err)
    assert sorted(seen) == [False, True]


def test_labels_from_folders_need_both_kinds(photos, detector_file, capsys):
    arguments = ["score", str(photos / "test" / "crack"), "-d", detector_file]
    assert cli.main([*arguments, "--labels-from-folders", "--good", "fine"]) == 0
    assert "No figures" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a,b.png", 'quote".png', "new\nline.png", "=1+1.png"])
def test_odd_file_names_stay_one_cell(name, tmp_path, bunch, detector_file, capsys):
    Image.fromarray(bunch.images[0]).save(tmp_path / name)
    assert cli.main(["score", str(tmp_path), "-d", detector_file]) == 0
    (row,) = read_rows(capsys.readouterr().out)
    assert row["path"] == str(tmp_path / name)


def test_a_file_name_that_is_no_utf8_is_written_with_escapes(
    tmp_path, bunch, detector_file, capsys
):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        Image.fromarray(bunch.images[0]).save(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert cli.main(["score", str(tmp_path), "-d", detector_file]) == 0
    (row,) = read_rows(capsys.readouterr().out)
    assert row["path"] == str(tmp_path / "caf\\xe9.png") and row["score"]


def test_an_interruption_keeps_the_old_table_and_what_was_scored(
    photos, detector_file, tmp_path, blocks_of, stopped, capsys
):
    output = tmp_path / "scores.csv"
    output.write_text("the old table", encoding="utf-8")
    blocks_of(5)
    arguments = ["score", str(photos), "-d", detector_file, "-o", str(output)]
    n_photos = sum(path.is_file() for path in photos.rglob("*"))
    with stopped():
        assert cli.main(arguments) == 130
    assert output.read_text(encoding="utf-8") == "the old table"
    assert len(read_table(tmp_path / "scores.csv.partial")) == 5
    said = capsys.readouterr().err
    assert "scores.csv.partial" in said
    assert f"5 of {n_photos} pictures scored in" in said


def test_an_interruption_leaves_no_part_of_a_map_or_of_a_detector(
    photos, detector_file, tmp_path, monkeypatch, capsys
):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    maps = tmp_path / "maps"
    with monkeypatch.context() as context:
        context.setattr(Image.Image, "save", interrupted)
        arguments = ["score", str(photos), "-d", detector_file, "--maps", str(maps)]
        assert cli.main(arguments) == 130
    assert [path for path in maps.rglob("*") if path.is_file()] == []
    with monkeypatch.context() as context:
        context.setattr(joblib, "dump", interrupted)
        target = tmp_path / "fit.joblib"
        assert cli.main(["fit", "-o", str(target), *TINY]) == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "photos"]
    assert "what was done so far" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "score"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    command, tmp_path, photos, detector_file, monkeypatch, capsys
):
    def too_late(*args, **kwargs):
        raise AssertionError("the work was begun")

    monkeypatch.setattr(RandomWordCLIPDetector, "fit", too_late)
    monkeypatch.setattr(_score, "detector_to_score", too_late)
    inputs = [str(photos), "-d", detector_file] if command == "score" else []
    for target, reason in (
        (tmp_path / "no" / "where.csv", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        assert cli.main([command, *inputs, "-o", str(target)]) == 1
        assert reason in capsys.readouterr().err


def test_a_detector_takes_no_settings_twice(photos, detector_file, capsys):
    arguments = ["score", str(photos), "-d", detector_file, "--normal", "a good"]
    assert cli.main(arguments) == 1
    assert "Got --detector and --normal" in capsys.readouterr().err


def test_a_file_that_is_no_detector_is_refused(photos, tmp_path, capsys):
    garbage, other = tmp_path / "garbage.joblib", tmp_path / "other.joblib"
    garbage.write_bytes(b"garbage")
    joblib.dump({"a": 1}, other)
    for path, reason in (
        (garbage, "cannot be loaded"),
        (other, "holds a dict"),
        (tmp_path / "missing.joblib", "missing.joblib` makes a detector"),
    ):
        assert cli.main(["score", str(photos), "-d", str(path)]) == 1
        assert reason in capsys.readouterr().err


def test_a_detector_of_another_version_is_refused(
    photos, detector_file, tmp_path, capsys
):
    detector = joblib.load(detector_file)
    del detector.n_shots
    joblib.dump(detector, tmp_path / "old.joblib")
    assert cli.main(["score", str(photos), "-d", str(tmp_path / "old.joblib")]) == 1
    assert "another version of skclipad" in capsys.readouterr().err


def test_one_whose_embedder_is_of_another_version_is_refused(
    detector_file, photos, tmp_path, capsys
):
    detector = joblib.load(detector_file)
    del detector.embedder.region
    joblib.dump(detector, tmp_path / "old.joblib")
    assert cli.main(["score", str(photos), "-d", str(tmp_path / "old.joblib")]) == 1
    assert "whose detectors had no region" in capsys.readouterr().err


def test_a_detector_of_another_model_is_refused(
    photos, detector_file, tmp_path, capsys
):
    detector = joblib.load(detector_file)
    detector.backbone_ = "another"
    joblib.dump(detector, tmp_path / "other.joblib")
    assert cli.main(["score", str(photos), "-d", str(tmp_path / "other.joblib")]) == 1
    assert "was fitted with" in capsys.readouterr().err


def test_a_detector_with_the_default_embedder_is_given_one(
    photos, detector_file, tmp_path, monkeypatch
):
    detector = joblib.load(detector_file).set_params(embedder=None)
    joblib.dump(detector, tmp_path / "default.joblib")
    # The paper's weights are not at hand here: the default is stood in for.
    monkeypatch.setattr(
        _detectors, "CLIPImageEmbedder", lambda: CLIPImageEmbedder(model_name="tiny")
    )
    assert cli.main(["score", str(photos), "-d", str(tmp_path / "default.joblib")]) == 0


# Kinds of tables, pictures from everywhere


def read_parquet(path):
    return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()


@pytest.mark.parametrize(
    "name, read",
    [
        ("scores.jsonl", lambda p: [json.loads(x) for x in p.read_text().splitlines()]),
        ("scores.parquet", read_parquet),
    ],
)
def test_all_kinds_of_tables_say_the_same(name, read, photos, detector_file, tmp_path):
    (photos / "bad.png").write_text("no picture", encoding="utf-8")
    score = ["score", str(photos), "-d", detector_file, "-o"]
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    assert cli.main([*score, str(tmp_path / "scores.csv")]) == 3
    assert cli.main([*score, str(tmp_path / name)]) == 3
    expected, rows = read_table(tmp_path / "scores.csv"), read(tmp_path / name)
    assert len(rows) == len(expected) == 14
    for row, line in zip(rows, expected, strict=True):
        assert list(row) == COLUMNS
        assert {k: "" if v is None else str(v) for k, v in row.items()} == line
    assert {type(row["score"]) for row in rows} == {float, type(None)}


def test_an_ending_that_is_no_table_is_refused(photos, detector_file, tmp_path, capsys):
    target = str(tmp_path / "scores.xlsx")
    assert cli.main(["score", str(photos), "-d", detector_file, "-o", target]) == 1
    assert ".csv, .jsonl or .parquet" in capsys.readouterr().err


def test_without_pyarrow_the_message_says_what_to_install(
    photos, detector_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    target = str(tmp_path / "scores.parquet")
    assert cli.main(["score", str(photos), "-d", detector_file, "-o", target]) == 1
    assert "pip install 'skclipad[parquet]'" in capsys.readouterr().err


def test_an_interrupted_parquet_file_can_be_read(
    photos, detector_file, tmp_path, blocks_of, stopped
):
    pytest.importorskip("pyarrow")
    blocks_of(5)
    target = tmp_path / "scores.parquet"
    score = ["score", str(photos), "-d", detector_file, "-o", str(target)]
    with stopped():
        assert cli.main(score) == 130
    assert not target.exists()
    assert len(read_parquet(tmp_path / "scores.parquet.partial")) == 5


def test_patterns_are_expanded_and_nothing_is_scored_twice(
    photos, detector_file, monkeypatch, capsys
):
    monkeypatch.chdir(photos)
    for pattern, names in (
        ("test/**/*.png", sorted(map(str, photos.glob("test/*/*.png")))),
        ("**", sorted([*map(str, photos.glob("test/*/*")), str(photos / "top.JPG")])),
        ("*.JPG", [str(photos / "top.JPG")]),
    ):
        assert cli.main(["score", pattern, "-d", detector_file]) == 0
        rows = read_rows(capsys.readouterr().out)
        found = [os.path.abspath(row["path"]) for row in rows]
        assert sorted(found) == names and len(found) == len(set(found))


def test_a_pattern_that_nothing_matches_gets_a_row_with_the_reason(
    photos, detector_file, capsys
):
    pattern = str(photos / "*.bmp")
    assert cli.main(["score", pattern, str(photos), "-d", detector_file]) == 3
    first, *others = read_rows(capsys.readouterr().out)
    assert first["path"] == pattern and "No such file" in first["error"]
    assert len(others) == 13


def test_names_come_from_standard_input(photos, detector_file, monkeypatch, capsys):
    names = sorted(map(str, photos.glob("test/*/*")))[:2]
    listed = "\n".join([names[0], "", names[1], "missing.png"]) + "\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    assert cli.main(["score", "-", "-d", detector_file]) == 3
    output = capsys.readouterr()
    rows = read_rows(output.out)
    assert [row["path"] for row in rows] == [*names, "missing.png"]
    # Nobody looks at a terminal here: no progress bar.
    note, first, *others = output.err.splitlines()
    assert note.startswith("Note: The bundled model")
    assert first.startswith("2 of 3 pictures scored in ")
    assert len(others) == 3 and others[1].startswith("  missing.png: No such file")


# Threshold, maps, report


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
