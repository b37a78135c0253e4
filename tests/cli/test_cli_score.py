"""``skclipad score``: tables of pictures from everywhere, and what goes wrong."""

import codecs
import io
import json
import os
import sys

import joblib
import numpy as np
import pytest
from PIL import Image
from tables import read_rows, read_table

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, cli
from skclipad.cli import _detectors, _files, _pictures, _score
from skclipad.metrics import aupr, auroc, f1_max

TINY = ["--model", "tiny", "--n-pairs", "200"]
COLUMNS = ["path", "score", "label", "s_pr", "s_fnn", "s_img", "error"]


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
    assert 'pip install "skclipad[parquet]"' in capsys.readouterr().err


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp850"])
def test_names_on_standard_input_are_read_as_windows_writes_them(
    encoding, photos, detector_file, monkeypatch, capsys
):
    name = str(photos / "M\u00fchle.png")
    (photos / "top.JPG").rename(name)
    listed = io.BytesIO(f"{name}\r\n".encode(encoding))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(listed))
    monkeypatch.setattr(_pictures, "WINDOWS", True)
    codecs.register(oem := {"oem": codecs.lookup("cp850")}.get)
    try:
        assert cli.main(["score", "-", "-d", detector_file]) == 0
    finally:
        codecs.unregister(oem)
    assert [row["path"] for row in read_rows(capsys.readouterr().out)] == [name]


@pytest.mark.parametrize("chosen, encoding", [("", "utf-8"), ("cp1252", "cp1252")])
def test_redirected_output_is_a_file_of_utf_8_on_windows(
    chosen, encoding, photos, detector_file, monkeypatch
):
    (photos / "top.JPG").rename(photos / "M\u00fchle.jpg")
    out = io.TextIOWrapper(io.BytesIO(), "cp1252", newline="\r\n")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(_files, "WINDOWS", True)
    monkeypatch.setenv("PYTHONIOENCODING", chosen)
    assert cli.main(["score", str(photos), "-d", detector_file]) == 0
    written = out.buffer.getvalue().decode(encoding)
    assert "M\u00fchle.jpg," in written and "\r\r" not in written
