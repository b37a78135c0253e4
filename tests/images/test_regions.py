"""Regions: what lies outside them is not seen, whatever it is."""

import numpy as np
import pytest
from detectors import tiny
from PIL import Image

from skclipad import CLIPImageEmbedder, ImageReadError
from skclipad._images.reading import image_identity, read_image, snapshot, whole_size
from skclipad._images.regions import COVER, Cut, parse_region
from skclipad.datasets import make_defect_images

BOX = (8, 16, 40, 32)  # x, y, width, height


@pytest.fixture(scope="module")
def images():
    return make_defect_images(3, random_state=0).images


@pytest.fixture
def circle():
    rows, columns = np.mgrid[:64, :64]
    return (rows - 30) ** 2 + (columns - 26) ** 2 < 15**2


def noisy_outside(images, inside):
    """Return the images with something else outside of a mask."""
    noise = np.random.default_rng(1).integers(0, 256, images.shape, dtype=np.uint8)
    return np.where(inside[None, :, :, None], images, noise)


def box_mask():
    x, y, width, height = BOX
    inside = np.zeros((64, 64), bool)
    inside[y : y + height, x : x + width] = True
    return inside


@pytest.mark.parametrize("value", ["8,16,40,32", " 8, 16, 40,32", BOX, np.array(BOX)])
def test_a_box_is_given_by_corner_and_size(value):
    region = parse_region(value)
    assert region.box == (8, 16, 48, 48) and region.mask is region.size is None
    assert region.name == "8,16,40,32" and parse_region(region) is region


def test_a_mask_is_an_image_or_an_array(circle, tmp_path):
    Image.fromarray(circle.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    regions = [
        parse_region(value)
        for value in (
            circle,
            circle.astype(np.uint8) * 200,
            str(tmp_path / "mask.png"),
            tmp_path / "mask.png",
        )
    ]
    for region in regions:
        assert region.box == (12, 16, 41, 45) and region.size == (64, 64)
        assert (region.mask == circle[16:45, 12:41]).all()
    assert len({region.name for region in regions}) == 1
    assert parse_region(np.roll(circle, 1, axis=0)).name != regions[0].name
    assert parse_region(None) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1,2,3,x", "four whole numbers"),
        ((0, 0, 2.5, 3), "four whole numbers"),
        ("0,0,0,5", "an empty region shows nothing"),
        ("-1,0,5,5", "x and y of 0 or more"),
        ("gone.png", "cannot be read as a mask"),
        ("1,2,3", "cannot be read as a mask"),
        (np.zeros((4, 4), bool), "without any light pixel"),
        (np.zeros((4, 4)), "of dtype bool or uint8"),
        ((1, 2, 3), "expected 'x,y,width,height'"),
    ],
)
def test_what_is_no_region_is_refused(value, said):
    with pytest.raises(ValueError, match=said):
        parse_region(value)
    with pytest.raises(ValueError, match=said):
        CLIPImageEmbedder("tiny", region=value).transform([np.zeros((8, 8, 3))])


def test_what_is_cut_is_read_and_the_rest_covered(images, circle):
    region = parse_region(circle)
    cut = Cut(images[0], region)
    assert cut.size is None
    pixels = np.asarray(read_image(cut))
    expected = images[0][16:45, 12:41]
    inside = circle[16:45, 12:41]
    assert (pixels[inside] == expected[inside]).all()
    assert (pixels[~inside] == COVER).all()
    assert cut.size == (64, 64) == whole_size(Cut(images[0], region))


def test_an_image_has_another_name_for_each_region(images):
    one, other = (parse_region(value) for value in (BOX, "0,0,9,9"))
    names = [image_identity(Cut(images[0], region)) for region in (one, other)]
    assert len({*names, image_identity(images[0])}) == 3
    cut = Cut(images[0], one)
    kept = snapshot(cut)
    assert image_identity(kept) == names[0]
    read_image(kept)
    assert cut.size == (64, 64)  # they remember together


@pytest.mark.parametrize(
    ("value", "said"),
    [((30, 0, 40, 10), "reaches to 70 x 10"), (np.ones((9, 9), bool), "mask of the")],
)
def test_an_image_that_does_not_fit_is_an_error_of_its_own(value, said, images):
    embedder = CLIPImageEmbedder("tiny", region=value)
    with pytest.raises(ImageReadError, match=said):
        embedder.transform(images[:1])
    embedder.set_params(on_error="nan")
    fitting = np.zeros((80, 80, 3), np.uint8)
    found = [images[0], fitting if isinstance(value, tuple) else fitting[:9, :9]]
    with pytest.warns(UserWarning, match="1 of 2 images could not be read"):
        embeddings = embedder.transform(found)
    assert np.isnan(embeddings[0]).all() and np.isfinite(embeddings[1]).all()


@pytest.mark.parametrize("crops", ["whole", "multi"])
def test_embeddings_are_those_of_the_cut_image(crops, images):
    x, y, width, height = BOX
    cut = images[:, y : y + height, x : x + width]
    expected = CLIPImageEmbedder("tiny", crops=crops).transform(cut)
    found = CLIPImageEmbedder("tiny", crops=crops, region=BOX).transform(images)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_shots", [0, 1])
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_what_lies_outside_changes_no_score(kind, n_shots, images, circle):
    value, inside = (BOX, box_mask()) if kind == "box" else (circle, circle)
    embedder = CLIPImageEmbedder("tiny", region=value)
    detector = tiny(embedder=embedder, n_shots=n_shots)
    expected = detector.fit(images).predict_proba(images)
    other = noisy_outside(images, inside)
    np.testing.assert_array_equal(detector.predict_proba(other), expected)
    # Nor is it a reference.
    again = detector.fit(other)
    np.testing.assert_allclose(again.predict_proba(images), expected, atol=1e-6)
    embedder.set_params(region=None)
    assert np.abs(tiny().fit().predict_proba(images) - expected).max() > 1e-3


def test_the_store_keeps_regions_apart(images, tmp_path):
    options = {"memory": tmp_path}
    whole = CLIPImageEmbedder("tiny", **options).transform(images)
    cut = CLIPImageEmbedder("tiny", region=BOX, **options).transform(images)
    assert np.abs(whole - cut).max() > 1e-3
    again = CLIPImageEmbedder("tiny", region=BOX, **options).transform(images)
    np.testing.assert_array_equal(again, cut)


@pytest.mark.parametrize("n_shots", [0, 1])
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_maps_lie_in_their_place_and_are_0_outside(kind, n_shots, images, circle):
    value, inside = (BOX, box_mask()) if kind == "box" else (circle, circle)
    detector = tiny(
        embedder=CLIPImageEmbedder("tiny", region=value), n_shots=n_shots
    ).fit(images)
    (found,) = detector.anomaly_map(images[:1])
    assert found.shape == (64, 64) and found.dtype == np.float32
    assert (found[~inside] == 0).all() and (found[inside] > 0).all()
    (small,) = detector.anomaly_map(images[:1], size=(32, 16))
    assert small.shape == (32, 16) and (small == 0).any() and (small > 0).any()
    if kind == "box":
        x, y, width, height = BOX
        detector.set_params(embedder__region=None)
        if n_shots == 0:
            cut = images[:1, y : y + height, x : x + width]
            (expected,) = detector.anomaly_map(cut)
            box = found[y : y + height, x : x + width]
            np.testing.assert_allclose(box, expected, atol=1e-6)


def test_maps_of_kept_features_and_of_bad_images(images, tmp_path):
    embedder = CLIPImageEmbedder("tiny", region=BOX, memory=tmp_path, on_error="nan")
    detector = tiny(embedder=embedder).fit()
    first = detector.anomaly_map(images)
    again = detector.anomaly_map(images)
    np.testing.assert_array_equal(np.stack(again), np.stack(first))
    with pytest.warns(UserWarning, match="could not be read"):
        bad, good = detector.anomaly_map([np.zeros((9, 9, 3)), images[0]])
    assert np.isnan(bad).all() and np.isfinite(good).all()


def test_a_box_smaller_than_a_pixel_of_the_map_has_one(images):
    embedder = CLIPImageEmbedder("tiny", region=(63, 63, 1, 1))
    (found,) = tiny(embedder=embedder).fit().anomaly_map(images[:1], size=4)
    assert np.flatnonzero(found).tolist() == [15]


def test_references_and_images_are_of_one_region(images, circle):
    embedder = CLIPImageEmbedder("tiny", region=BOX)
    detector = tiny(embedder=embedder, n_shots=1).fit(images)
    for other in (None, "0,0,32,40", circle):
        detector.set_params(embedder__region=other)
        with pytest.raises(ValueError, match="the references of this detector show"):
            detector.predict_proba(images)
    detector.set_params(embedder__region="8,16,40,32").predict_proba(images)
    # Words alone may look elsewhere.
    detector = tiny().fit()
    detector.set_params(embedder__region=BOX).predict_proba(images)
