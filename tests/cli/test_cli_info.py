"""``skclipad info``: number formats, and what another one does to images."""

import itertools
import os

import joblib
import numpy as np
import pytest
from detectors import tiny
from PIL import Image

from skclipad import CLIPImageEmbedder, cli
from skclipad._clip import precision
from skclipad.cli import _check_precision
from skclipad.datasets import make_defect_images

pytestmark = pytest.mark.usefixtures("int8_products")

TINY = ["--model", "tiny", "--device", "cpu"]


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch):
    monkeypatch.setattr(_check_precision, "N_PAIRS", 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 8 images, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    for i, image in enumerate(make_defect_images(8, random_state=0).images):
        Image.fromarray(image).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def told(capsys, *arguments, code=0):
    """Return what is printed, by the names of the lines."""
    assert cli.main(["info", *map(str, arguments)]) == code
    lines = capsys.readouterr().out.splitlines()
    return {line[:16].strip(): line[17:] for line in lines}


def refusal(capsys, *arguments):
    assert cli.main(["info", *map(str, arguments)]) == 1
    return capsys.readouterr().err


# What the processor has


@pytest.mark.parametrize(
    ("flags", "bf16", "int8"),
    [
        ("amx_bf16 avx512_bf16 amx_int8", "yes (amx_bf16): ", "yes (amx_int8): "),
        ("avx512_bf16 avx512_vnni", "yes (avx512_bf16): ", "yes (avx512_vnni): "),
        ("avx2 avx_vnni", "no units", "yes (avx_vnni): "),
        ("avx2", "no units", "no units"),
    ],
)
def test_info_tells_what_the_processor_has(
    flags, bf16, int8, capsys, monkeypatch, tmp_path
):
    file = tmp_path / "cpuinfo"
    file.write_text(f"model name : Some Processor\nflags : fpu {flags}\n")
    monkeypatch.setattr(precision, "CPUINFO", file)
    lines = told(capsys, *TINY)
    assert lines["processor"] == "Some Processor"
    assert lines["precision"].startswith("auto is fp32")
    assert lines["bf16"].startswith(bf16)
    assert lines["int8"].startswith(int8)
    for line in (lines["bf16"], lines["int8"]):
        assert ("transformers" in line or "ViT-B-16-plus-240; lite" in line) is (
            "times as fast" in line
        )


def test_info_is_silent_where_nobody_tells(capsys, monkeypatch):
    monkeypatch.setattr("skclipad.cli._info.cpu_units", lambda: None)
    lines = told(capsys, *TINY)
    assert "processor" in lines
    assert not {"bf16", "int8"} & set(lines)


# What another number format does


@pytest.mark.parametrize("kind", ["int8", "bf16"])
def test_a_check_compares_with_single_precision(kind, folder, capsys):
    lines = told(capsys, "--check-precision", kind, folder, *TINY)
    assert lines["compared"] == f"{kind} with fp32, tiny"
    assert lines["pictures"] == "8 of 9"
    lowest, median = (float(w) for w in lines["cosine"].split() if w[0].isdigit())
    assert 0.999 < lowest <= median < 1
    assert list(lines)[-4:] == ["s_pr", "s_fnn", "score", "labels"]
    low, exact = (float(w) for w in lines["weights, MB"].split() if w.isdigit())
    assert low < 0.7 * exact


def test_a_check_of_a_detector_says_by_how_much_its_scores_differ(
    folder, capsys, tmp_path
):
    detector = tiny(embedder=CLIPImageEmbedder("tiny", precision="bf16")).fit()
    joblib.dump(detector, tmp_path / "d.joblib")
    arguments = ["--device", "cpu", "-d", tmp_path / "d.joblib"]
    lines = told(capsys, "--check-precision", "int8", folder, *arguments)

    paths = [folder / f"{i}.png" for i in range(8)]
    exact, low = (
        detector.set_params(embedder__precision=p).predict_proba(paths)[:, 1]
        for p in ("fp32", "int8")
    )
    assert f"by {np.abs(exact - low).max():.2g} at most" in lines["score"]
    n_changed = np.sum((exact > 0.5) != (low > 0.5))
    assert lines["labels"].startswith(f"{n_changed} of 8 change")


def test_labels_of_scores_on_one_side_of_the_threshold_say_little(
    folder, capsys, tmp_path
):
    told_of = {}
    for threshold in (0.0, 1.0):
        joblib.dump(tiny(threshold=threshold).fit(), tmp_path / "d.joblib")
        arguments = ["--device", "cpu", "-d", tmp_path / "d.joblib"]
        lines = told(capsys, "--check-precision", "bf16", folder, *arguments)
        told_of[threshold] = lines["labels"]
    assert "0 of 8 change; in fp32 all scores lie above" in told_of[0.0]
    assert "0 of 8 change; in fp32 all scores lie below" in told_of[1.0]


def make_reading_slow(monkeypatch, n):
    """Let reading of n images take nine tenths of the time, by a clock of its own."""
    monkeypatch.setattr(_check_precision, "_pace_of_model", lambda *of: 0.1)
    ticks = itertools.count(step=n)
    monkeypatch.setattr(_check_precision, "perf_counter", lambda: next(ticks))


@pytest.mark.parametrize(("side", "is_large"), [(300, True), (200, False)])
def test_a_check_says_how_much_is_reading_and_what_helps(
    side, is_large, tmp_path, monkeypatch, capsys
):
    for i, image in enumerate(make_defect_images(4, random_state=0).images):
        large = Image.fromarray(image).resize((side, side))
        large.save(tmp_path / f"{i}.jpg")
    make_reading_slow(monkeypatch, 4)
    lines = told(capsys, "--check-precision", "bf16", tmp_path, *TINY)
    assert lines["reading"].startswith("90% of the time, 90% in fp32; without it 1.00")
    hint = "with --decode reduced, which reads these JPEGs faster, bf16 gains more"
    assert lines.get("hint") == (hint if is_large else None)


def test_a_check_of_an_empty_folder_says_so(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    arguments = ["--check-precision", "int8", tmp_path / "empty", *TINY]
    assert cli.main(["info", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said == f"skclipad info: no pictures found in {tmp_path / 'empty'}\n"


def test_a_check_of_references_looks_at_images(folder, capsys, tmp_path):
    images = make_defect_images(4, random_state=1).images
    joblib.dump(tiny(n_shots=2).fit(images), tmp_path / "d.joblib")
    arguments = ["--device", "cpu", "-d", tmp_path / "d.joblib"]
    lines = told(capsys, "--check-precision", "int8", folder, *arguments)
    assert {"s_pr", "s_fnn", "s_img"} <= set(lines)


def test_a_check_takes_some_images_from_all_over(folder, capsys, monkeypatch):
    monkeypatch.setattr(_check_precision, "N_IMAGES", 5)
    seen, embed = [], CLIPImageEmbedder.transform

    def noted(self, X):
        seen.append(X)
        return embed(self, X)

    monkeypatch.setattr(CLIPImageEmbedder, "transform", noted)
    lines = told(capsys, "--check-precision", "bf16", folder, *TINY)
    assert lines["pictures"] == "4 of 9"
    names = [os.path.basename(path) for path in seen[2]]
    assert names == ["0.png", "2.png", "4.png", "6.png", "broken.png"]


def test_a_check_without_readable_images_says_so(folder, capsys):
    arguments = ["--check-precision", "int8", folder / "broken.png", *TINY]
    assert cli.main(["info", *map(str, arguments)]) == 2
    assert "0 of 1 pictures could be read, but expected" in capsys.readouterr().err


def test_what_does_not_fit_is_refused(folder, capsys):
    said = refusal(capsys, "--check-precision", "int8", folder, "--model", "lite")
    assert "Got --check-precision 'int8' for 'lite', but" in said
    assert "Stay with --precision 'fp32', or take a model" in said
    assert "without pictures" in refusal(capsys, "--check-precision", "int8")
    assert "only looked at with --check-precision" in refusal(capsys, folder)
    assert "'int4' is not" in refusal(capsys, "--check-precision", "int4", folder)
