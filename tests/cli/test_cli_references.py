"""References on the command line: folders that are normal, and folders themselves."""

import re

import joblib
import numpy as np
import pytest
from pictures import fill
from PIL import Image
from tables import read_table

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, cli
from skclipad.datasets import make_defect_images
from skclipad.report import describe_run

TINY = ["--model", "tiny", "--n-pairs", "100"]


@pytest.fixture(scope="module")
def painted():
    return make_defect_images(9, categories=["tile"], random_state=7)


@pytest.fixture
def photos(tmp_path, painted):
    fill(tmp_path / "photos", painted.images)
    return tmp_path / "photos"


@pytest.fixture
def good(tmp_path):
    images = make_defect_images(
        6, categories=["tile"], anomaly_fraction=0, random_state=8
    ).images
    fill(tmp_path / "good", images)
    return tmp_path / "good"


@pytest.fixture
def score(tmp_path, capsys):
    """Run ``skclipad score``; return its exit code, its rows and what it says."""

    def run(*arguments, settings=TINY):
        output = tmp_path / "scores.csv"
        output.unlink(missing_ok=True)
        words = ["score", *map(str, arguments), "-o", str(output), *settings]
        code = cli.main(words)
        rows = read_table(output) if output.exists() else []
        return code, rows, capsys.readouterr().err

    return run


def in_python(images, **parameters):
    embedder = CLIPImageEmbedder("tiny", on_error="nan")
    return RandomWordCLIPDetector(
        N_p=100, random_state=0, embedder=embedder, **parameters
    ).fit(images)


def column(rows, name):
    return [float(row[name]) for row in rows]


def paths_in(folder):
    return sorted(map(str, folder.rglob("*.png")))


def test_unlabelled_scores_are_those_of_the_folder_as_references(photos, score):
    code, rows, said = score(photos, "--unlabelled")
    assert code == 0
    paths = paths_in(photos)
    detector = in_python(paths, n_shots="all", reference_method="mutual")
    expected = detector.score_components(paths)
    for name in ("s_pr", "s_fnn", "s_img"):
        np.testing.assert_allclose(column(rows, name), expected[name], atol=1e-6)
    scores = detector.combine_components(expected)
    np.testing.assert_allclose(column(rows, "score"), scores, atol=1e-6)
    size = sum(array.nbytes for array in detector.references_.values()) / 1e6
    assert "references: 9 images\n" in said
    assert f"references: {size:.2g} MB are kept of them\n" in said


@pytest.mark.parametrize(
    "options, parameters",
    [
        ([], {"n_shots": "all"}),
        (["--n-shots", "all"], {"n_shots": "all"}),
        (["--n-shots", "2"], {"n_shots": 2}),
        (
            ["--reference-method", "mutual", "--reference-share", "0.6"],
            {"n_shots": "all", "reference_method": "mutual", "reference_share": 0.6},
        ),
        (["--max-references", "3"], {"n_shots": "all", "max_references": 3}),
        (["--combine", "standardized"], {"n_shots": "all", "combine": "standardized"}),
    ],
)
def test_references_of_another_folder_are_those_of_python(
    options, parameters, photos, good, score
):
    code, rows, said = score(photos, "--references", good, *options)
    assert code == 0
    detector = in_python(paths_in(good), **parameters)
    expected = detector.predict_proba(paths_in(photos))[:, 1]
    np.testing.assert_allclose(column(rows, "score"), expected, atol=1e-6)
    n = len(detector.reference_rows_)
    assert f"references: {n}{' of 6' if n < 6 else ''} images" in said


def test_fit_keeps_references_that_score_goes_on_with(photos, good, score, tmp_path):
    for source in (["--references", str(good)], ["--unlabelled", str(photos)]):
        file = str(tmp_path / "d.joblib")
        assert cli.main(["fit", "-o", file, *source, *TINY]) == 0
        assert joblib.load(file).embedder.on_error == "raise"
        code, kept, said = score(photos, "-d", file, settings=[])
        assert code == 0
        options = ["--unlabelled"] if source[0] == "--unlabelled" else source
        _, at_once, _ = score(photos, *options)
        assert kept == at_once
        n = len(joblib.load(file).reference_rows_)
        # Told when they are new, by `fit`, and not again.
        told = re.findall(r"references: (\S+ \w+)", said)
        assert (told[0], len(told)) == (f"{n} images", 2)


def test_the_former_name_of_references_is_read_by_fit(good, tmp_path):
    written = []
    for name in ("--normal-dir", "--references"):
        file = tmp_path / "d.joblib"
        shots = ["--n-shots", "2", name, str(good)]
        assert cli.main(["fit", "-o", str(file), *shots, *TINY]) == 0
        written.append(joblib.load(file).references_)
    for side in written[0]:
        np.testing.assert_array_equal(written[0][side], written[1][side])


# Runs that go on, the cache, maps, the report


def test_resume_finds_the_rows_of_a_run_with_the_same_folder(
    photos, score, stopped, tmp_path, capsys
):
    output = tmp_path / "died.csv"
    words = ["score", str(photos), "--unlabelled", "-o", str(output), *TINY]
    words += ["--batch-size", "2", "--cache", str(tmp_path / "cache")]

    with stopped() as blocks:
        assert cli.main(words) == 130
    assert cli.main([*words, "--resume"]) == 0
    assert (
        f"{len(blocks[0])} of 9 pictures were scored before" in capsys.readouterr().err
    )

    _, rows, _ = score(photos, "--unlabelled")
    resumed = read_table(output)
    for name in ("s_img", "score"):
        np.testing.assert_allclose(column(resumed, name), column(rows, name), atol=1e-6)


def test_maps_and_report_show_the_references(photos, score, tmp_path):
    maps, report = tmp_path / "maps", tmp_path / "r.html"
    more = ["--maps", maps, "--report", report, "--heat-maps", "2"]
    code, rows, _ = score(photos, "--unlabelled", *more)
    assert code == 0
    paths = paths_in(photos)
    detector = in_python(paths, n_shots="all", reference_method="mutual")
    expected = detector.anomaly_map(paths)
    for path, values in zip(paths_in(maps), expected, strict=True):
        with Image.open(path) as image:
            drawn = np.asarray(image) / 65535
        np.testing.assert_allclose(drawn, values, atol=1e-4)
    page = report.read_text(encoding="utf-8")
    assert re.search(r"<th scope=row>references</th><td>9 images, ", page)
    assert "--unlabelled" in page


def test_settings_of_a_run_say_how_many_references_and_how_large(good):
    detector = in_python(paths_in(good), n_shots=2)
    size = sum(array.nbytes for array in detector.references_.values()) / 1e6
    said = describe_run(detector)["Run"]["references"]
    assert said == f"2 of 6 images, {size:.2g} MB"
    without = in_python(None)
    assert "references" not in describe_run(without)["Run"]


# Folders that are not as they should be


def test_more_images_than_the_bound_are_drawn_from(photos, score):
    code, _, said = score(photos, "--unlabelled", "--max-references", "6")
    assert code == 0
    assert "references: 6 of 9 images\n" in said


def test_few_images_are_told(tmp_path, painted, score):
    fill(tmp_path / "few", painted.images[:3])
    code, rows, said = score(tmp_path / "few", "--unlabelled")
    assert code == 0
    assert len(rows) == 3
    assert "3 different pictures say little about what is usual" in said


def test_one_image_has_nothing_to_be_compared_with(tmp_path, painted, score):
    fill(tmp_path / "one", painted.images[:1])
    code, rows, said = score(tmp_path / "one", "--unlabelled")
    assert (code, rows) == (1, [])
    assert "Got 1 picture with --unlabelled, but expected two at least" in said


def test_images_that_are_all_alike_are_refused(tmp_path, painted, score):
    fill(tmp_path / "alike", [painted.images[0]] * 9)
    code, rows, said = score(tmp_path / "alike", "--unlabelled")
    assert (code, rows) == (1, [])
    assert "Got 9 readable pictures of one and the same content" in said


def test_images_that_cannot_be_read_are_no_references(photos, score):
    (photos / "bad.png").write_bytes(b"no image")
    code, rows, said = score(photos, "--unlabelled")
    assert code == 3
    assert "references: 1 of them cannot be read and are left out" in said
    assert [bool(row["s_img"]) for row in rows] == 9 * [True] + [False]

    for path in photos.iterdir():
        path.write_bytes(b"no image")
    code, rows, said = score(photos, "--unlabelled")
    assert (code, rows) == (1, [])
    assert "none of them can be read" in said


def test_one_of_a_few_references_that_cannot_be_read_is_named(good, photos, score):
    (good / "00.png").write_bytes(b"no image")
    code, rows, said = score(photos, "--references", good, "--n-shots", "6")
    assert (code, rows) == (1, [])
    assert str(good / "00.png") in said


def test_references_that_are_to_be_scored_are_told(good, score):
    code, rows, said = score(good, "--references", good)
    assert code == 0
    assert "6 of the pictures to score are references" in said
    assert max(column(rows, "s_img")) < 1e-6
    _, rows, said = score(good, "--references", good, "--reference-method", "mutual")
    assert "are references" not in said
    assert min(column(rows, "s_img")) > 1e-3


def test_references_give_no_threshold_where_they_would_find_themselves(
    good, photos, score
):
    same = ["--references", good, "--fpr", "0.2", "--normal-dir", good]
    code, rows, said = score(photos, *same)
    assert (code, rows) == (1, [])
    assert "Got 6 pictures in --normal-dir" in said and "too low" in said
    assert score(photos, *same, "--reference-method", "mutual")[0] == 0


@pytest.mark.parametrize(
    "options, reason",
    [
        (["--unlabelled", "--references", "x"], "not allowed with"),
        (["--n-shots", "4"], "Got --n-shots without references"),
        (["--by-folder"], "Got --by-folder without references"),
        (["--combine", "sum"], "Got --combine without references"),
        (["--unlabelled", "--n-shots", "4"], "Got --n-shots 4 with --unlabelled"),
        (
            ["--unlabelled", "--reference-method", "winclip"],
            "takes every reference for normal",
        ),
        (["--references", "nowhere"], "nowhere: no such file"),
        (["--references", "good", "--n-shots", "7"], "holds 6 pictures"),
        (["--references", "good", "--n-shots", "0"], "'0' is no whole number"),
        (["--references", "good", "--n-shots", "few"], "'few' is no whole number"),
        (["--references", "good", "--combine", "max"], "'max' is not 'auto'"),
        (["--references", "empty"], "empty holds no pictures"),
        (
            ["--references", "good", "--reference-share", "0"],
            "--reference-share must be a float in the range (0.0, 1.0]",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options, reason, photos, good, score, monkeypatch, tmp_path
):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    code, rows, said = score("photos", *options)
    assert (code, rows) == (1, [])
    assert reason in said


@pytest.mark.parametrize(
    "options",
    [
        ["--unlabelled"],
        ["--references", "good"],
        ["--n-shots", "2"],
        ["--by-folder"],
        ["--combine", "sum"],
    ],
)
def test_a_detector_has_its_references(options, photos, tmp_path, score):
    file = str(tmp_path / "d.joblib")
    assert cli.main(["fit", "-o", file, *TINY]) == 0
    code, rows, said = score(photos, "-d", file, *options, settings=[])
    assert (code, rows) == (1, [])
    assert f"Got --detector and {options[0]}" in said and "skclipad fit" in said


# Several kinds of things in one folder


@pytest.fixture
def mixed(tmp_path):
    """Nine tiles and nine coins, each in a folder; maps are made of 16 at once."""
    for kind in ("tile", "coin"):
        images = make_defect_images(9, categories=[kind], random_state=4).images
        fill(tmp_path / "mixed" / kind / "today", images)
    return tmp_path / "mixed"


def test_by_folder_compares_each_kind_with_its_own(mixed, score):
    code, rows, said = score(mixed, "--unlabelled", "--by-folder")
    assert code == 0
    assert "references: 18 images, in 2 folders\n" in said
    alone = []
    for kind in ("coin", "tile"):
        alone += score(mixed / kind, "--unlabelled")[1]
    assert rows == alone


def test_by_folder_scores_alike_on_a_cluster(mixed, score, cluster):
    options = ["--unlabelled", "--by-folder"]
    _, rows, _ = score(mixed, *options)
    code, elsewhere, said = score(mixed, *options, "--dask", "local:2")
    assert code == 0 and "Dask: 2 workers" in said
    assert [row["path"] for row in elsewhere] == [row["path"] for row in rows]
    for name in ("score", "s_img"):
        expected = [float(row[name]) for row in rows]
        found = [float(row[name]) for row in elsewhere]
        assert found == pytest.approx(expected, abs=1e-6)


def test_by_folder_takes_references_of_the_same_name(mixed, tmp_path, score):
    for kind in ("tile", "coin", "bottle"):
        images = make_defect_images(3, random_state=5).images
        fill(tmp_path / "known" / kind, images)
    known = ["--references", tmp_path / "known"]
    code, rows, said = score(mixed, *known, "--by-folder", "--n-shots", "2")
    assert code == 0
    # No bottle is to be scored.
    assert "references: 4 of 6 images, in 2 folders\n" in said
    alone = []
    for kind in ("coin", "tile"):
        of_kind = ["--references", tmp_path / "known" / kind, "--n-shots", "2"]
        alone += score(mixed / kind, *of_kind)[1]
    assert rows == alone

    code, rows, said = score(mixed / "tile", *known, "--by-folder")
    assert (code, rows) == (1, [])
    assert "Got pictures in 'today', but --references" in said
    assert "only in 'bottle', 'coin', 'tile'" in said


def test_by_folder_makes_maps_reports_and_thresholds(mixed, tmp_path, score):
    maps, report = tmp_path / "maps", tmp_path / "r.html"
    more = ["--maps", maps, "--report", report, "--threshold", "0.2"]
    code, rows, _ = score(mixed, "--unlabelled", "--by-folder", *more)
    assert code == 0
    assert [row["label"] for row in rows] == [
        str(int(float(row["score"]) > 0.2)) for row in rows
    ]
    assert len(paths_in(maps)) == 18
    coins = paths_in(mixed / "coin")
    detector = in_python(coins, n_shots="all", reference_method="mutual")
    with Image.open(maps / "coin" / "today" / "03.png.png") as image:
        drawn = np.asarray(image) / 65535
    (expected,) = detector.anomaly_map([coins[3]])
    np.testing.assert_allclose(drawn, expected, atol=1e-4)
    assert "<td>18 images, " in report.read_text(encoding="utf-8")


def test_by_folder_names_the_folder_that_is_no_reference(mixed, painted, score):
    fill(mixed / "lone", painted.images[:1])
    code, rows, said = score(mixed, "--unlabelled", "--by-folder")
    assert (code, rows) == (1, [])
    assert "Got 1 picture in 'lone'" in said


def test_folders_of_perhaps_several_kinds_are_told(mixed, tmp_path, score, capsys):
    code, _, said = score(mixed, "--unlabelled")
    assert code == 0
    assert "lie in 2 folders, 'coin', 'tile'" in said and "--by-folder" in said
    _, _, said = score(mixed / "tile", "--unlabelled")
    assert "Note: the references lie" not in said
    file = str(tmp_path / "d.joblib")
    assert cli.main(["fit", "-o", file, "--unlabelled", str(mixed), *TINY]) == 0
    assert "fit one detector for each of them" in capsys.readouterr().err


def test_info_says_what_a_detector_is(good, tmp_path, capsys):
    file = str(tmp_path / "d.joblib")
    source = ["--references", str(good), "--n-shots", "2"]
    assert cli.main(["fit", "-o", file, *source, *TINY]) == 0
    capsys.readouterr()
    assert cli.main(["info", "-d", file]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^references +2 of 6 images, [\d.]+ MB$", printed, re.M)
    assert re.search(r"^N_p +100$", printed, re.M)


# Good pictures that are no references set the threshold


def test_what_references_leave_over_sets_the_threshold(photos, good, score):
    fill(good / "copies", [np.asarray(Image.open(good / "00.png"))] * 2)
    arguments = [photos, "--references", good, "--n-shots", 2]
    code, rows, said = score(*arguments, "--fpr", 0.25)
    assert code == 0
    threshold = float(said.partition("threshold ")[2].partition(":")[0])
    n_left = int(said.partition("normal pictures above")[0].split()[-1])
    # Copies of a reference are none of them, and copies of another count once.
    assert n_left == 4
    for row in rows:
        assert row["label"] == str(int(float(row["score"]) > threshold))
        assert 0 < float(row["p_value"]) <= 1


def test_too_few_left_over_are_told_with_what_to_do(photos, good, score):
    code, _, said = score(photos, "--references", good, "--fpr", 0.25)
    assert code == 1 and "6 of them references and 0 others" in said
    assert "takes 3 that are no references. Set --n-shots 3 or less" in said
    code, _, said = score(photos, "--references", good, "--fpr", 0.01)
    assert code == 1 and "Name more good pictures with --normal-dir" in said
    code, _, said = score(photos, "--unlabelled", "--fpr", 0.01)
    assert code == 1 and "--fpr needs --normal-dir DIR, or --references" in said
    more = ["--by-folder", "--fpr", 0.01]
    code, _, said = score(photos, "--references", photos, *more)
    assert code == 1 and "--fpr with --by-folder needs --normal-dir" in said


def test_references_show_the_region_that_fit_was_given(photos, tmp_path, capsys):
    detector = str(tmp_path / "d.joblib")
    arguments = ["fit", "--unlabelled", str(photos), "-o", detector, *TINY]
    assert cli.main([*arguments, "--region", "8,8,40,40"]) == 0
    assert joblib.load(detector).references_["parts"].shape[0] == 9

    table = tmp_path / "s.csv"
    arguments = ["score", str(photos), "-d", detector, "-o", str(table)]
    assert cli.main(arguments) == 0
    assert len(table.read_text().splitlines()) == 10
    assert "warning" not in capsys.readouterr().err
    assert cli.main([*arguments, "--region", "8,9,40,40"]) == 1
    said = capsys.readouterr().err
    assert "Got --region '8,9,40,40', but the references" in said
    assert "show '8,8,40,40'" in said
