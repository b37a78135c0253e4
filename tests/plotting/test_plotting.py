"""AnomalyMapDisplay: every image in its row, one scale for all maps."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skclipad import CLIPImageEmbedder, ImageReadError, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.plotting import AnomalyMapDisplay


@pytest.fixture(scope="module")
def photos():
    return make_defect_images(3, image_size=48, random_state=0)


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    return [0.1 * row + 0.5 * rng.random((48, 48)) for row in range(3)]


def drawn(ax):
    (artist,) = ax.get_images()
    return artist


def test_images_maps_and_masks_stand_side_by_side(photos, maps):
    display = AnomalyMapDisplay.from_predictions(
        photos.images, maps, masks=photos.masks, scores=[0.25, 0.5, 1]
    )
    assert display.axes_.shape == (3, 3)
    titles = [ax.get_title() for ax in display.axes_[0]]
    assert titles == ["image", "anomaly map", "mask"]
    for row, (image, heat, mask) in enumerate(display.axes_):
        np.testing.assert_array_equal(drawn(image).get_array(), photos.images[row])
        np.testing.assert_array_equal(drawn(heat).get_array(), maps[row])
        np.testing.assert_array_equal(drawn(mask).get_array(), photos.masks[row])
    labels = [ax.get_ylabel() for ax in display.axes_[:, 0]]
    assert labels == ["score 0.250", "score 0.500", "score 1.000"]


def test_all_maps_share_the_scale_of_the_colour_bar(photos, maps):
    display = AnomalyMapDisplay.from_predictions(photos.images, maps)
    ends = np.min(maps), np.max(maps)
    assert [drawn(ax).get_clim() for ax in display.axes_[:, 1]] == [ends] * 3
    assert (display.colorbar_.vmin, display.colorbar_.vmax) == ends
    assert display.axes_.shape == (3, 2)
    display.plot(vmin=0, vmax=1, cmap="viridis")
    assert [drawn(ax).get_clim() for ax in display.axes_[:, 1]] == [(0, 1)] * 3
    assert drawn(display.axes_[0, 1]).get_cmap().name == "viridis"


def test_a_map_of_another_size_covers_its_whole_image(photos):
    oblong = np.zeros((20, 50, 3), np.uint8)
    display = AnomalyMapDisplay.from_predictions([oblong], [np.eye(4)], masks=[[[1]]])
    for ax in display.axes_[0, 1:]:
        assert drawn(ax).get_extent() == [0, 50, 20, 0]


def test_a_map_of_nan_does_not_spoil_the_scale(photos, maps):
    nothing = np.full((1, 1), np.nan)
    display = AnomalyMapDisplay.from_predictions(photos.images, [*maps[:2], nothing])
    assert display.colorbar_.vmax == np.max(maps[:2])


@pytest.mark.parametrize("kind", [list, iter, "frame"])
def test_from_estimator_draws_its_maps_and_scores(kind, photos):
    detector = RandomWordCLIPDetector(
        N_p=100, random_state=0, embedder=CLIPImageEmbedder("tiny")
    ).fit()
    images = list(photos.images)
    X = (
        kind(images)
        if callable(kind)
        else pd.DataFrame({"image": images, "object": ["object"] * 3})
    )
    display = AnomalyMapDisplay.from_estimator(detector, X, masks=photos.masks)
    scores = detector.predict_proba(images)[:, 1]
    np.testing.assert_allclose(display.scores, scores, atol=1e-6)
    for ax, expected in zip(
        display.axes_[:, 1], detector.anomaly_map(images), strict=True
    ):
        np.testing.assert_allclose(drawn(ax).get_array(), expected, atol=1e-6)


def test_an_unfitted_estimator_says_so(photos):
    with pytest.raises(NotFittedError):
        AnomalyMapDisplay.from_estimator(RandomWordCLIPDetector(), photos.images)


@pytest.mark.parametrize("name", ["maps", "masks", "scores"])
def test_everything_needs_as_many_as_there_are_images(name, photos, maps):
    arguments = {"maps": maps, "masks": photos.masks, "scores": [0.1, 0.2, 0.3]}
    arguments[name] = arguments[name][:2]
    with pytest.raises(ValueError, match=f"Got 3 images and 2 {name}"):
        AnomalyMapDisplay.from_predictions(photos.images, **arguments)


def test_an_image_that_cannot_be_read_is_named(maps):
    with pytest.raises(ImageReadError, match=r"Image 0 .*gone\.png"):
        AnomalyMapDisplay.from_predictions(["gone.png"], maps[:1])


def test_without_matplotlib_the_message_says_what_to_install(photos, maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skclipad\[plot\]"'):
        AnomalyMapDisplay.from_predictions(photos.images, maps)
