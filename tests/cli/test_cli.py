"""The command line, called as a function; once in a process of its own."""

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version

import joblib
import numpy as np
import open_clip
import pytest
from detectors import few_pairs
from pictures import fill
from PIL import Image
from sklearn.utils import Bunch
from tables import read_table

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, cli
from skclipad._storage.store import open_store
from skclipad.datasets import load_sample_photos
from skclipad.metrics import auroc
from skclipad.report import _settings

TINY = ["--model", "tiny", "--n-pairs", "200"]


# Arguments


def test_help_names_every_command_and_the_exit_codes(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (*cli.COMMANDS, "exit codes", "examples"):
        assert word in text


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_has_a_help_of_its_own(command, capsys):
    assert cli.main([command, "--help"]) == 0
    assert f"usage: skclipad {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("fit", "a bundled one: lite (a small one, for photos) or tiny (for tests)"),
        ("score", "(takes about ten times as long as scores)"),
        ("score", "heat maps (which may take longer than the scores: see --heat-maps)"),
        ("export", "newer exporter, which takes some 8 seconds longer"),
        ("info", "with --model, the row of that one"),
    ],
)
def test_help_says_what_names_mean_and_what_things_cost(command, text, capsys):
    assert cli.main([command, "--help"]) == 0
    assert text in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["fit"],
        ["score"],
        ["demo", "--seed", "x"],
        ["fit", "-o", "d.joblib", "--l-min", "short"],
        ["info", "--verbose"],
    ],
)
def test_wrong_usage_exits_with_1_and_says_where_help_is(arguments, capsys):
    assert cli.main(arguments) == 1
    said, hint = capsys.readouterr().err.splitlines()
    assert said.startswith("skclipad")
    known = arguments[:1] if arguments and arguments != ["dance"] else []
    assert hint.startswith(f"`{' '.join(['skclipad', *known])} --help`")


def test_a_slip_in_an_option_is_answered_with_the_option_that_is_meant(capsys):
    assert cli.main(["score", "a.png", "--treshold", "0.6"]) == 1
    error = capsys.readouterr().err
    assert "unrecognized arguments: --treshold 0.6. Did you mean --threshold?" in error
    assert cli.main(["score", "a.png", "--qqqqqqq"]) == 1
    assert "mean" not in capsys.readouterr().err


def test_help_and_slips_need_not_wait_for_torch():
    program = (
        "import sys; from skclipad import cli; "
        "cli.main(['score', '--help']); cli.main(['fit', '-o']); "
        "sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert process.returncode == 0


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "skclipad", "dance"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1
    assert "invalid choice: 'dance'" in process.stderr


DRIFT = ["drift", "gone.csv", "--reference", "gone.csv"]  # a command without torch


@pytest.mark.parametrize("arguments", [None, DRIFT])
def test_only_a_process_of_its_own_ends_without_a_search_for_cycles(arguments):
    code = f"import gc, sys; sys.argv = {['skclipad', *DRIFT]}\n"
    code += f"from skclipad.cli import main; main({arguments})\n"
    code += "sys.exit(5 if gc.get_freeze_count() else 0)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert process.returncode == (5 if arguments is None else 0)


def test_info_tells_versions_device_and_the_bundled_model(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for name in ("skclipad", "torch", "open_clip_torch", "python", "device", "bundled"):
        assert f"\n{name}" in "\n" + text


def test_info_does_not_stumble_over_a_package_that_is_not_there(capsys, monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_settings, "version", version)
    assert cli.main(["info"]) == 0
    assert "not installed" in capsys.readouterr().out


def test_info_prints_the_models_and_marks_those_that_are_not_there(capsys, monkeypatch):
    assert cli.main(["info", "--models"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["name", "weights", "sell", "licence"]
    assert lines[0].startswith("ViT-B-16-plus-240")
    is_oldest = version("open_clip_torch").startswith("3.0.")
    assert sum("(not in this open_clip)" in line for line in lines) == 2 * is_oldest
    assert any("transformers open_clip_torch>=3.1" in line for line in lines)
    monkeypatch.setattr(
        open_clip, "list_pretrained", lambda: [("ViT-B-32", "laion2b_s34b_b79k")]
    )
    assert cli.main(["info", "--models"]) == 0
    marked = [
        line.split()[0]
        for line in capsys.readouterr().out.splitlines()
        if "(not in this open_clip)" in line
    ]
    assert "RN50" in marked and "ViT-B-32" not in marked and len(marked) >= 10


# fit


def test_fit_keeps_the_settings_given_and_the_defaults_of_the_others(tmp_path):
    target = tmp_path / "d.joblib"
    words = ["--normal", "a good", "--anomaly", "a bad", "--object", "bottle"]
    more = ["--l-min", "2", "--l-max", "4", "--seed", "3", "--crops", "multi"]
    more += ["--input-noise", "0.5", "--n-networks", "2"]
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
        input_noise=0.5,
        n_networks=2,
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


def test_fit_keeps_prompts_and_pictures_in_the_cache(tmp_path, images):
    Image.fromarray(images[0]).save(tmp_path / "0.png")
    target, cache = tmp_path / "d.joblib", tmp_path / "cache"
    references = ["--n-shots", "1", "--normal-dir", str(tmp_path)]
    command = ["fit", "-o", str(target), *TINY, *references, "--cache", str(cache)]
    assert cli.main(command) == 0
    assert joblib.load(target).memory == str(cache)
    kept = len(open_store(cache))
    assert kept > 0
    first = joblib.load(target)
    assert cli.main(command) == 0
    assert len(open_store(cache)) == kept
    for once, again in zip(first.coefs_, joblib.load(target).coefs_, strict=True):
        np.testing.assert_array_equal(once, again)


def test_fit_gives_the_same_detector_as_python(detector_file, images):
    embedder = CLIPImageEmbedder(model_name="tiny")
    detector = RandomWordCLIPDetector(N_p=200, random_state=0, embedder=embedder).fit()
    np.testing.assert_array_equal(
        joblib.load(detector_file).predict_proba(images),
        detector.predict_proba(images),
    )


@pytest.mark.parametrize(
    "options, message",
    [
        (["--model", "no-such-model"], "Got --model 'no-such-model' but"),
        (["--model", "ViT-B-32", "--pretrained", "no-such-tag"], "no-such-tag"),
        ([*TINY, "--l-min", "9", "--l-max", "3"], "--l-min 9"),
        ([*TINY, "--normal", " "], "--normal ' '"),
        ([*TINY, "--l-min", "70", "--l-max", "90"], "l_max"),
        ([*TINY, "--device", "abacus"], "Got --device 'abacus'"),
        ([*TINY, "--n-pairs", "0"], "--n-pairs must be an int in the range [1, inf)"),
        (
            ["--model", "ViT-B-32", "--pretrained", "openai"],
            "--model 'lite', a small model for photos",
        ),
    ],
)
def test_settings_that_do_not_fit_are_explained_without_a_traceback(
    options, message, tmp_path, capsys
):
    assert cli.main(["fit", "-o", str(tmp_path / "d.joblib"), *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("skclipad fit: ") and message in error
    assert os.listdir(tmp_path) == []


def test_fit_takes_its_references_from_a_folder(tmp_path, images, capsys):
    fill(tmp_path, images[:3])
    target, shots = tmp_path / "d.joblib", ["--normal-dir", str(tmp_path)]
    fit = ["fit", "-o", str(target), *TINY]
    assert cli.main([*fit, "--n-shots", "2", *shots]) == 0
    assert joblib.load(target).references_[2].shape[0] == 2
    capsys.readouterr()
    assert cli.main([*fit, "--n-shots", "4", *shots]) == 1
    assert "holds 3 pictures, but --n-shots 4" in capsys.readouterr().err
    assert cli.main([*fit, "--n-shots", "2"]) == 1
    assert "Got --n-shots without references" in capsys.readouterr().err


# demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "new"
    with few_pairs(), redirect_stdout(io.StringIO()) as stdout:
        assert cli.main(["demo", "--out", str(out)]) == 0
    return out, stdout.getvalue()


def test_demo_judges_photos_in_three_ways_and_says_how_well(demo):
    out, text = demo
    rows = read_table(out / "scores.csv")
    target = [int(row["target"]) for row in rows]
    assert target == load_sample_photos().target.tolist()

    found = re.findall(r"^(words|4 good|an unlabelled).* (\d+) +(0\.\d+)", text, re.M)
    assert [int(n_photos) for _, n_photos, _ in found] == [50, 46, 50]
    words, few, folder = (float(value) for *_, value in found)
    assert folder == round(auroc(target, [float(row["score"]) for row in rows]), 3)
    # Better than guessing by far more than chance.
    assert min(words, few, folder) > 0.65


def test_demo_says_what_it_is(demo):
    out, text = demo
    assert "Nothing was trained on photos of cans" in text
    assert str(out / "sheet.png") in text


def test_demo_writes_the_documented_columns(demo, capsys):
    out, _ = demo
    rows = read_table(out / "scores.csv")
    documented = ["score", "label", "s_pr", "s_fnn", "s_img"]
    assert list(rows[0]) == ["path", *documented, "target"]
    assert rows[0]["path"] == "good/000.jpg"
    assert {row["label"] for row in rows} <= {"0", "1"}
    assert cli.main(["demo", "--help"]) == 0
    assert "target (1 for a damaged can)" in capsys.readouterr().out


def test_demo_report_tells_the_command_and_what_the_model_is(demo):
    out, _ = demo
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"<td>skclipad demo --out {out}</td>" in page
    assert "none: bundled model" in page and "a small CLIP for a first look" in page


def test_demo_leaves_report_sheet_and_table_and_nothing_else(demo):
    out, _ = demo
    assert sorted(os.listdir(out)) == ["report.html", "scores.csv", "sheet.png"]
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.format == "PNG" and min(sheet.size) > 500
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('"jpg"') == 50
    assert page.count('"png": "') == 50  # heat maps


# export


def test_export_leaves_a_graph_and_says_how_well_it_agrees(
    detector_file, tmp_path, images, capsys
):
    pytest.importorskip("onnxruntime")
    fill(tmp_path, images[:3])
    target = tmp_path / "detector.onnx"
    arguments = ["-d", detector_file, "-o", str(target), "--pictures", str(tmp_path)]
    assert cli.main(["export", *arguments]) == 0
    said = capsys.readouterr()
    assert re.fullmatch(
        r"agrees with the detector on 3 pictures: scores to \de-0\d, maps to \de-0\d, "
        r"all labels\n",
        said.out,
    )
    assert "comparing it with the detector on 3 pictures ...\n" in said.err
    assert "no maps" not in said.err
    agreement = json.loads((tmp_path / "detector.preprocess.json").read_text())
    assert agreement["agreement"]["n_pictures"] == 3
    assert max(agreement["agreement"]["max_difference"].values()) < 1e-4
    left = [name for name in os.listdir(tmp_path) if not name.endswith(".png")]
    assert sorted(left) == ["detector.onnx", "detector.preprocess.json"]


@pytest.mark.parametrize(
    ("options", "maps", "dynamo"),
    [([], None, None), (["--no-maps"], False, None), (["--dynamo"], None, True)],
)
def test_export_passes_on_what_it_is_told(
    options, maps, dynamo, detector_file, tmp_path, monkeypatch
):
    told = {}

    def export(detector, path, **settings):
        told.update(settings)
        raise ValueError("enough")

    monkeypatch.setattr("skclipad.cli._export.export_onnx", export)
    arguments = ["-d", detector_file, "-o", str(tmp_path / "d.onnx"), *options]
    assert cli.main(["export", *arguments]) == 1
    assert (told["maps"], told["dynamo"]) == (maps, dynamo)


@pytest.fixture(scope="module")
def lite_file(tmp_path_factory):
    """A detector of a model whose image tower is no plain ViT."""
    path = str(tmp_path_factory.mktemp("lite") / "lite.joblib")
    assert cli.main(["fit", "-o", path, "--model", "lite", "--n-pairs", "50"]) == 0
    return path


@pytest.mark.parametrize(("options", "is_told"), [([], True), (["--no-maps"], False)])
def test_export_says_that_a_graph_has_no_maps(
    options, is_told, lite_file, tmp_path, monkeypatch, capsys
):
    agreement = {
        "n_pictures": 200,
        "max_difference": {"s_pr": 0.021, "score": 0.0134},
        "same_label": 0.985,
        "rank_correlation": 0.99512,
    }

    def export(detector, path, **settings):
        path.write_bytes(b"graph")
        return Bunch(path=path, preprocess_path=path, agreement=agreement)

    monkeypatch.setattr("skclipad.cli._export.export_onnx", export)
    arguments = ["-d", lite_file, "-o", str(tmp_path / "d.onnx"), *options]
    assert cli.main(["export", *arguments]) == 0
    said = capsys.readouterr()
    told = "no maps in the graph: the image tower of lite is no plain ViT"
    assert (told in said.err) is is_told
    assert said.out == (
        "agrees with the detector on noise: scores to 0.02, 98.5 % of labels, rank "
        "correlation 0.9951\n"
    )


def test_export_of_other_references_says_what_to_fit(tmp_path, images, capsys):
    pytest.importorskip("onnxruntime")
    fill(tmp_path / "good", images[:2])
    detector, graph = str(tmp_path / "d.joblib"), str(tmp_path / "d.onnx")
    settings = ["--model", "lite", "--n-pairs", "50", "--n-shots", "2"]
    references = ["--references", str(tmp_path / "good")]
    assert cli.main(["fit", "-o", detector, *settings, *references]) == 0
    assert cli.main(["export", "-d", detector, "-o", graph]) == 1
    said = capsys.readouterr().err
    assert "Fit one with --reference-method 'mutual', or one without references" in said


def test_export_refuses_what_it_cannot_do_before_the_work(
    detector_file, tmp_path, capsys
):
    for arguments, reason in (
        (["-o", str(tmp_path / "detector.pb")], ".onnx"),
        (["-o", str(tmp_path / "d.onnx"), "--pictures", str(tmp_path)], "no pictures"),
    ):
        assert cli.main(["export", "-d", detector_file, *arguments]) == 1
        assert reason in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
