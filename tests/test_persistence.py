"""Detectors on disk: small, without weights, the same in another process."""

import io
import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from detectors import tiny

from skclipad import CLIPImageEmbedder, ImageReadError, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images

TRUSTED = [
    "skclipad._detector.RandomWordCLIPDetector",
    "skclipad._embedder.CLIPImageEmbedder",
]


@pytest.fixture(scope="module")
def images():
    return make_defect_images(8, random_state=5).images


@pytest.fixture(scope="module")
def detector():
    return tiny(N_p=200).fit()


def through_joblib(detector):
    file = io.BytesIO()
    joblib.dump(detector, file)
    return joblib.load(io.BytesIO(file.getvalue()))


def through_pickle(detector):
    return pickle.loads(pickle.dumps(detector))


def through_skops(detector):
    return skops.io.loads(skops.io.dumps(detector), trusted=TRUSTED)


@pytest.mark.parametrize("trip", [through_joblib, through_pickle, through_skops])
def test_two_round_trips_keep_every_score(trip, detector, images):
    again = trip(trip(detector))
    np.testing.assert_array_equal(
        again.predict_proba(images), detector.predict_proba(images)
    )
    assert again.get_params()["embedder__model_name"] == "tiny"
    assert again.loss_curve_ == detector.loss_curve_


def test_skops_asks_to_trust_nothing_but_our_classes(detector):
    found = skops.io.get_untrusted_types(data=skops.io.dumps(detector))
    assert set(found) <= set(TRUSTED)


def test_file_is_small_and_holds_no_weights(detector, images, tmp_path):
    detector.predict_proba(images)
    joblib.dump(detector, tmp_path / "detector.joblib")
    assert (tmp_path / "detector.joblib").stat().st_size < 100_000


def test_state_is_plain(detector):
    for name, value in vars(detector).items():
        if name.endswith("_"):
            assert is_plain(value), name


def is_plain(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return isinstance(value, np.ndarray | str | int | float | None)


def test_detector_of_the_default_backbone_stays_under_ten_megabytes():
    detector = RandomWordCLIPDetector()
    sizes = [640, *detector.hidden_layer_sizes, 1]
    n_weights = sum(a * b + b for a, b in zip(sizes[:-1], sizes[1:], strict=True))
    assert 4 * n_weights < 9_000_000


def test_fresh_process_without_accelerator_gives_the_same_scores(
    detector, images, tmp_path
):
    joblib.dump(detector, tmp_path / "detector.joblib")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import joblib, numpy as np\n"
        "detector = joblib.load('detector.joblib')\n"
        "scores = detector.predict_proba(np.load('images.npy'))\n"
        "np.save('scores.npy', scores)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "scores.npy"), detector.predict_proba(images), atol=1e-5
    )


def test_a_call_that_is_over_holds_no_store_open(images, tmp_path):
    def alone():
        # Beside a file that is in use SQLite keeps a log.
        return os.listdir(tmp_path) == ["skclipad-embeddings.sqlite"]

    embedder = CLIPImageEmbedder("tiny", memory=tmp_path)
    features = embedder.transform(images)
    assert alone()
    detector = tiny(embedder=embedder, memory=tmp_path, random_state=3).fit(images)
    assert alone()
    named = pd.DataFrame({"image": list(images), "object": "bottle"})
    for X in (images, features, named):
        detector.predict_proba(X)
        assert alone()
    with pytest.raises(ImageReadError):
        detector.predict_proba([images[0], b"no image"])
    assert alone()
