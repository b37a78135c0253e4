"""What a notebook shows of detectors and maps."""

import base64
import io
import pickle
import re

import numpy as np
import pytest
from detectors import tiny
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector, _embedder
from skclipad.datasets import make_defect_images


@pytest.fixture(scope="module")
def images():
    return make_defect_images(6, random_state=0).images


@pytest.fixture(scope="module")
def detector(images):
    return tiny(N_p=200, n_shots=2).fit(images)


@pytest.fixture(scope="module")
def maps(detector, images):
    return detector.anomaly_map(images)


def html(thing):
    return thing._repr_mimebundle_()["text/html"]


def drawn(maps):
    sources = re.findall(r"base64,([^\"]+)", maps._repr_html_())
    files = (io.BytesIO(base64.b64decode(source)) for source in sources)
    return [np.asarray(Image.open(file)) for file in files]


def test_fitted_detector_says_backbone_network_size_and_time(detector):
    text = html(detector)
    rows = dict(re.findall(r"<th [^>]*>([^<]*)</th><td [^>]*>([^<]*)</td>", text))
    assert rows["Backbone"] == f"tiny ({detector.backbone_[:8]})"
    assert rows["Network"] == f"96 - 128 - 32 - 16 - 1, {detector.n_iter_} steps"
    assert rows["References"] == "2 of 6 images"
    assert rows["Fitted in"] == f"{detector.fit_time_:.3g} s"
    kilobytes = float(rows["Size"].removesuffix(" kB").replace(",", ""))
    assert kilobytes == pytest.approx(len(pickle.dumps(detector)) / 1000, rel=0.1)
    # For viewers that know no bundles.
    assert f"tiny ({detector.backbone_[:8]})" in detector._repr_html_()


def test_what_scikit_learn_shows_stays(detector):
    assert "sk-estimator" in html(detector) or "sk-toggleable" in html(detector)
    assert repr(detector).startswith("RandomWordCLIPDetector(N_p=200, embedder=")
    assert "skclipad-summary" not in repr(detector)


def test_detector_that_is_not_fitted_shows_its_settings_alone(detector):
    assert "skclipad-summary" not in html(clone(detector))


def test_text_display_shows_no_html(detector):
    with config_context(display="text"):
        assert "text/html" not in detector._repr_mimebundle_()
        assert not hasattr(detector, "_repr_html_")


@pytest.mark.parametrize("model_name", ["ViT-B-32", "no-such-model"])
def test_an_embedder_is_shown_without_loading_its_model(model_name, monkeypatch):
    loaded = []
    monkeypatch.setattr(_embedder, "load_backbone", loaded.append)
    embedder = CLIPImageEmbedder(model_name, pretrained="no such weights")
    for estimator in (embedder, make_pipeline(embedder, RandomWordCLIPDetector())):
        assert "no such weights" in html(estimator)
    assert loaded == []


@pytest.mark.parametrize(
    ("model_name", "width"), [("tiny", 96), ("ViT-B-16-plus-240", 640), ("RN50", 1024)]
)
def test_names_of_features_need_no_weights(model_name, width, monkeypatch):
    monkeypatch.delattr(_embedder, "load_backbone")
    embedder = CLIPImageEmbedder(model_name, pretrained="no such weights")
    names = embedder.get_feature_names_out()
    assert len(names) == width
    assert names[-1] == f"clipimageembedder{width - 1}"


def test_detector_in_a_pipeline_is_shown(detector):
    pipeline = make_pipeline(CLIPImageEmbedder("tiny"), detector)
    assert "RandomWordCLIPDetector" in html(pipeline)


def test_names_are_escaped(detector):
    other = clone(detector).set_params(n_shots=0).fit()
    other.set_params(embedder__model_name="<script>alert(1)</script>")
    summary = html(other).split("skclipad-summary")[1]
    assert "&lt;script&gt;" in summary
    assert "<script>" not in summary


def test_maps_draw_themselves_on_one_scale(maps, images):
    assert isinstance(maps, list)
    assert all(type(m) is np.ndarray and m.dtype == np.float32 for m in maps)
    pictures = drawn(maps)
    assert len(pictures) == len(images)
    assert {picture.shape for picture in pictures} == {(96, 96, 3)}
    # The brightest picture is that of the highest map.
    brightness = [picture.sum(axis=2).max() for picture in pictures]
    assert np.argmax(brightness) == np.argmax([m.max() for m in maps])
    assert f"black {min(m.min() for m in maps):.3f}" in maps._repr_html_()


def test_a_slice_of_maps_is_drawn_and_one_map_is_an_array(maps):
    assert len(drawn(maps[1:3])) == 2
    assert type(maps[0]) is np.ndarray
    assert len(maps[1:] + maps[:1]) == len(maps)


def test_many_maps_are_not_all_drawn(maps):
    maps = type(maps)([np.zeros((4, 4), np.float32)] * 30)
    assert len(drawn(maps)) == 24
    assert "30 anomaly maps, the first 24 of them" in maps._repr_html_()


def test_maps_without_values_are_grey_or_said_to_be_none(maps):
    kind = type(maps)
    nothing = np.full((1, 1), np.nan, np.float32)
    assert "none with a value" in kind([nothing])._repr_html_()
    (grey, _) = drawn(kind([nothing, np.eye(4, dtype=np.float32)]))
    assert (grey == 128).all()


def test_maps_are_pickled_as_they_are(maps):
    again = pickle.loads(pickle.dumps(maps))
    assert all((a == b).all() for a, b in zip(maps, again, strict=True))
    assert len(drawn(again)) == len(maps)
