"""What other tools take from us: tables as their imports, detectors as their models."""

import json
import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from detectors import tiny
from PIL import Image

from skclipad.cli import main
from skclipad.datasets import make_defect_images

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with a space in a name, a picture that is none, and its scores."""
    folder = tmp_path_factory.mktemp("photos")
    for i, image in enumerate(make_defect_images(6, random_state=0).images):
        Image.fromarray(image).save(folder / f"part {i}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module", params=[".csv", ".jsonl"])
def table(request, photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / f"scores{request.param}"
    settings = ["--model", "tiny", "--n-pairs", "200", "--threshold", "0.4"]
    assert main(["score", str(photos), "-o", str(path), *settings]) == 3
    return path


@pytest.fixture
def run_example(monkeypatch):
    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name))

    return run


def scored(table):
    """Return score and label by path, of the pictures that have some."""
    if table.suffix == ".jsonl":
        rows = [json.loads(line) for line in table.read_text().splitlines()]
        rows = [row for row in rows if row["score"] is not None]
        return {row["path"]: (row["score"], row["label"]) for row in rows}
    header, *lines = table.read_text().splitlines()
    places = [header.split(",").index(name) for name in ("path", "score", "label")]
    rows = [[line.split(",")[i] for i in places] for line in lines]
    return {p: (float(s), int(label)) for p, s, label in rows if s}


def test_fiftyone_gets_a_label_for_each_picture_with_a_score(
    table, tmp_path, run_example
):
    run_example("to_fiftyone.py", table, tmp_path / "labels.json")
    found = json.loads((tmp_path / "labels.json").read_text())["labels"]
    expected = scored(table)
    assert len(expected) == 6 and {label for _, label in expected.values()} == {0, 1}
    assert set(found) == set(map(os.path.abspath, expected))
    for path, (score, label) in expected.items():
        one = found[os.path.abspath(path)]
        assert one == {
            "label": ["normal", "anomalous"][label],
            "confidence": pytest.approx(score),
        }


def test_label_studio_gets_a_task_for_each_picture_with_a_score(
    table, photos, tmp_path, run_example
):
    run_example("to_label_studio.py", table, tmp_path / "tasks.json", photos)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    expected = scored(table)
    assert len(tasks) == len(expected) == 6
    for task, (path, (score, label)) in zip(tasks, expected.items(), strict=True):
        name = Path(path).name.replace(" ", "%20")
        assert task["data"]["image"] == f"/data/local-files/?d={name}"
        (prediction,) = task["predictions"]
        (region,) = prediction["result"]
        assert prediction["score"] == pytest.approx(score)
        assert region["value"] == {"choices": [["normal", "anomalous"][label]]}


@pytest.mark.parametrize("name", ["to_fiftyone.py", "to_label_studio.py"])
def test_scripts_say_how_they_are_called(name, run_example):
    with pytest.raises(SystemExit, match=f"python {name} scores.csv"):
        run_example(name)


def test_label_studio_accepts_the_tasks(table, photos, tmp_path, run_example):
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    run_example("to_label_studio.py", table, tmp_path / "tasks.json", photos)
    text = (EXAMPLES / "to_label_studio.py").read_text(encoding="utf-8")
    (config,) = re.findall(r"<View>.*</View>", text, re.S)
    checked = interface.LabelInterface(config)
    for task in json.loads((tmp_path / "tasks.json").read_text()):
        (prediction,) = task["predictions"]
        assert checked.validate_prediction(prediction, return_errors=True) == []


def test_fiftyone_reads_the_labels(table, tmp_path, run_example):
    importers = pytest.importorskip("fiftyone.utils.data.importers")
    run_example("to_fiftyone.py", table, tmp_path / "labels.json")
    importer = importers.FiftyOneImageClassificationDatasetImporter(
        labels_path=str(tmp_path / "labels.json")
    )
    importer.setup()
    found = {path: (one.confidence, one.label) for path, _, one in importer}
    assert set(found) == set(map(os.path.abspath, scored(table)))
    assert {label for _, label in found.values()} == {"normal", "anomalous"}


def test_mlflow_keeps_a_detector(tmp_path):
    mlflow = pytest.importorskip("mlflow.sklearn")
    images = make_defect_images(4, random_state=0).images
    detector = tiny(n_shots=2).fit(images)
    mlflow.save_model(
        detector,
        tmp_path / "model",
        serialization_format="cloudpickle",
        pip_requirements=["skclipad"],
    )
    again = mlflow.load_model(str(tmp_path / "model"))
    assert np.array_equal(again.predict_proba(images), detector.predict_proba(images))
    files = [p for p in (tmp_path / "model").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 2e6  # the model alone has 12 MB
