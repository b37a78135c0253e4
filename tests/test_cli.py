"""The command line, called as a function; once in a process of its own."""

import csv
import io
import os
import subprocess
import sys
from contextlib import redirect_stdout

import joblib
import numpy as np
import pytest
from PIL import Image

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, cli
from skclipad.datasets import make_defect_images
from skclipad.metrics import aupr, auroc, f1_max

TINY = ["--model", "tiny", "--n-pairs", "200"]


@pytest.fixture(scope="module")
def bunch():
    return make_defect_images(12, random_state=7)


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "detector.joblib"
    assert cli.main(["fit", "-o", str(path), *TINY]) == 0
    return str(path)


@pytest.fixture
def photos(tmp_path, bunch):
    """A folder in MVTec's layout, test/good and test/crack, and one picture above."""
    for i, (image, target) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        folder = tmp_path / "photos" / "test" / ("crack" if target else "good")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    Image.fromarray(bunch.images[0]).save(tmp_path / "photos" / "top.JPG")
    return tmp_path / "photos"


def read_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def rows_of(path):
    return read_rows(path.read_text(encoding="utf-8"))


# Arguments


def test_help_names_every_command_and_the_exit_codes(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in ("demo", "fit", "score", "info", "exit codes", "examples"):
        assert word in text


@pytest.mark.parametrize("command", ["demo", "fit", "score", "info"])
def test_each_command_has_a_help_of_its_own(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"usage: skclipad {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["fit"],
        ["score"],
        ["demo", "--n-images", "0"],
        ["demo", "--n-images", "x"],
        ["fit", "-o", "d.joblib", "--l-min", "short"],
        ["info", "--verbose"],
    ],
)
def test_wrong_usage_exits_with_1_and_says_how_it_is_used(arguments, capsys):
    assert cli.main(arguments) == 1
    assert "usage: skclipad" in capsys.readouterr().err


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "skclipad", "dance"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1
    assert "invalid choice: 'dance'" in process.stderr


def test_info_tells_versions_device_and_the_bundled_model(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for name in ("skclipad", "torch", "open_clip_torch", "python", "device", "bundled"):
        assert f"\n{name}" in "\n" + text


def test_info_does_not_stumble_over_a_package_that_is_not_there(capsys, monkeypatch):
    def version(name):
        raise cli.PackageNotFoundError(name)

    monkeypatch.setattr(cli, "version", version)
    assert cli.main(["info"]) == 0
    assert "not installed" in capsys.readouterr().out


# fit


def test_fit_keeps_the_settings_given_and_the_defaults_of_the_others(tmp_path):
    target = tmp_path / "d.joblib"
    words = ["--normal", "a good", "--anomaly", "a bad", "--object", "bottle"]
    more = ["--l-min", "2", "--l-max", "4", "--seed", "3", "--crops", "multi"]
    assert cli.main(["fit", "-o", str(target), *TINY, *words, *more]) == 0
    detector = joblib.load(target)
    expected = RandomWordCLIPDetector(
        l_min=2,
        l_max=4,
        N_p=200,
        normal_word="a good",
        anomaly_word="a bad",
        object_name="bottle",
        random_state=3,
        embedder=CLIPImageEmbedder(model_name="tiny", crops="multi"),
    )
    expected, got = expected.get_params(), detector.get_params()
    assert type(got.pop("embedder")) is type(expected.pop("embedder"))
    assert got == expected


def test_fit_says_where_the_detector_is_and_leaves_nothing_else(tmp_path, capsys):
    target = tmp_path / "d.joblib"
    assert cli.main(["fit", "-o", str(target), *TINY]) == 0
    size = target.stat().st_size / 1000
    assert f"{target}: {size:.0f} kB" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["d.joblib"]


def test_fit_gives_the_same_detector_as_python(detector_file, bunch):
    embedder = CLIPImageEmbedder(model_name="tiny")
    detector = RandomWordCLIPDetector(N_p=200, random_state=0, embedder=embedder).fit()
    np.testing.assert_array_equal(
        joblib.load(detector_file).predict_proba(bunch.images),
        detector.predict_proba(bunch.images),
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (["--model", "no-such-model"], "no-such-model"),
        (["--model", "ViT-B-32", "--pretrained", "no-such-tag"], "no-such-tag"),
        ([*TINY, "--l-min", "9", "--l-max", "3"], "l_min=9"),
        ([*TINY, "--normal", " "], "normal_word=' '"),
        ([*TINY, "--l-min", "70", "--l-max", "90"], "l_max"),
        ([*TINY, "--device", "abacus"], "device='abacus'"),
    ],
)
def test_settings_that_do_not_fit_are_explained_without_a_traceback(
    options, message, tmp_path, capsys
):
    assert cli.main(["fit", "-o", str(tmp_path / "d.joblib"), *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("skclipad fit: ") and message in error
    assert os.listdir(tmp_path) == []


# score


def test_score_writes_one_row_a_picture_sorted_folder_by_folder(
    photos, detector_file, tmp_path
):
    output = tmp_path / "scores.csv"
    code = cli.main(["score", str(photos), "-d", detector_file, "-o", str(output)])
    assert code == 0
    rows = rows_of(output)
    assert list(rows[0]) == ["path", "score", "label", "s_pr", "s_fnn", "error"]
    paths = [str(photos / "top.JPG"), *sorted(map(str, photos.glob("test/*/*")))]
    assert [row["path"] for row in rows] == paths and len(paths) == 13
    detector = joblib.load(detector_file)
    expected = dict(detector.score_components(paths))
    expected["score"] = detector.predict_proba(paths)[:, 1]
    for name, scores in expected.items():
        assert [float(row[name]) for row in rows] == pytest.approx(scores, abs=1e-6)
    assert [int(row["label"]) for row in rows] == detector.predict(paths).tolist()
    assert {row["error"] for row in rows} == {""}


def test_score_in_blocks_equals_score_at_once(
    photos, detector_file, monkeypatch, capsys
):
    arguments = ["score", str(photos), "-d", detector_file, "--batch-size", "3"]
    assert cli.main(arguments) == 0
    at_once = read_rows(capsys.readouterr().out)
    monkeypatch.setattr(cli, "BLOCK", 5)
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
    assert [*rows[0]][3:] == ["s_pr", "s_fnn", "s_img", "error"]
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
    assert "13 of 17 pictures scored" in output.err


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
    missing = str(tmp_path / "missing.png")
    assert cli.main(["score", missing, "-d", detector_file]) == 2
    (row,) = read_rows(capsys.readouterr().out)
    assert row["path"] == missing and row["error"]


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
    photos, detector_file, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "scores.csv"
    output.write_text("the old table", encoding="utf-8")
    score_block = cli._score_block

    def interrupted(detector, paths, first):
        if first > 0:
            raise KeyboardInterrupt
        return score_block(detector, paths, first)

    monkeypatch.setattr(cli, "BLOCK", 5)
    monkeypatch.setattr(cli, "_score_block", interrupted)
    arguments = ["score", str(photos), "-d", detector_file, "-o", str(output)]
    assert cli.main(arguments) == 130
    assert output.read_text(encoding="utf-8") == "the old table"
    assert len(rows_of(tmp_path / "scores.csv.partial")) == 5
    assert "scores.csv.partial" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "score"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    command, tmp_path, photos, detector_file, monkeypatch, capsys
):
    def too_late(*args, **kwargs):
        raise AssertionError("the work was begun")

    monkeypatch.setattr(cli, "_fitted_detector", too_late)
    monkeypatch.setattr(cli, "_loaded_detector", too_late)
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
        (tmp_path / "missing.joblib", "No such file"),
    ):
        assert cli.main(["score", str(photos), "-d", str(path)]) == 1
        assert reason in capsys.readouterr().err


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
        cli.skclipad,
        "CLIPImageEmbedder",
        lambda: CLIPImageEmbedder(model_name="tiny"),
        raising=False,
    )
    assert cli.main(["score", str(photos), "-d", str(tmp_path / "default.joblib")]) == 0


# demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "new"
    with redirect_stdout(io.StringIO()) as stdout:
        assert cli.main(["demo", "--out", str(out)]) == 0
    return out, stdout.getvalue()


def test_demo_scores_at_least_200_new_pictures_and_says_how_well(demo):
    out, text = demo
    rows = rows_of(out / "scores.csv")
    assert len(rows) >= 200
    y_true = [int(row["target"]) for row in rows]
    assert [row["defect"] != "none" for row in rows] == [y == 1 for y in y_true]
    methods = {"CLIP": "s_pr", "ours": "s_fnn", "CLIP + ours": "score"}
    for method, name in methods.items():
        scores = [float(row[name]) for row in rows]
        figures = [metric(y_true, scores) for metric in (auroc, aupr, f1_max)]
        line = f"{method:<12} " + " ".join(f"{figure:7.3f}" for figure in figures)
        assert line in text.splitlines()
        # Above guessing by far more than chance: texts and pictures are aligned.
        assert figures[0] > 0.7


def test_demo_says_what_it_is(demo):
    out, text = demo
    assert "tiny model" in text and "painted" in text
    assert str(out / "sheet.png") in text


def test_demo_leaves_a_sheet_and_a_table_and_nothing_else(demo):
    out, _ = demo
    assert sorted(os.listdir(out)) == ["scores.csv", "sheet.png"]
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.format == "PNG" and min(sheet.size) > 500
