"""Maps made of tiles: of the image's size, without seams, in bounded memory."""

import tracemalloc

import numpy as np
import pytest
from detectors import tiny
from PIL import Image

from skclipad import ImageReadError
from skclipad.datasets import make_defect_images
from skclipad.scoring._tiles import check_tiles, tiled_map


class Positions:
    """A detector whose map is the brightness of the image: seams would show."""

    references_ = None

    class embedder:
        bit_depth = None

    def __init__(self):
        self.sizes = []

    def anomaly_map(self, images):
        self.sizes += [image.size for image in images]
        return [
            np.asarray(image.convert("L"), dtype=np.float32) / 255 for image in images
        ]


@pytest.fixture
def detector():
    return Positions()


@pytest.mark.parametrize("size", [(300, 200), (100, 100), (101, 99), (40, 260), (7, 5)])
def test_the_tiles_make_the_whole(size, detector, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size[::-1], dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    values = tiled_map(detector, str(path), 100)
    assert values.dtype == np.float32 and values.shape == size[::-1]
    np.testing.assert_allclose(values, pixels / 255, atol=1e-5)
    assert all(max(tile) <= 100 for tile in detector.sizes)


def test_tiles_that_differ_are_blended(detector, tmp_path, monkeypatch):
    def anomaly_map(images):  # of each tile another level
        shapes = [image.size[::-1] for image in images]
        return [np.full(shape, i, np.float32) for i, shape in enumerate(shapes)]

    monkeypatch.setattr(detector, "anomaly_map", anomaly_map)
    path = tmp_path / "a.png"
    Image.new("L", (175, 40)).save(path)
    row = tiled_map(detector, str(path), 100)[0]
    assert (row[:75] == 0).all() and (row[100:] == 1).all()
    steps = np.diff(row)
    assert (steps >= 0).all() and steps.max() < 0.05  # 25 pixels lie in both


def test_an_image_that_fits_has_the_map_of_the_detector(tmp_path):
    detector = tiny().fit()
    path = tmp_path / "a.png"
    Image.fromarray(make_defect_images(1, random_state=0).images[0]).save(path)
    expected = detector.anomaly_map([str(path)])[0]
    np.testing.assert_allclose(tiled_map(detector, str(path), 64), expected, atol=1e-6)


def test_memory_is_bounded_as_stated(detector, tmp_path):
    side, tile = 1600, 200
    path = tmp_path / "a.png"
    Image.new("RGB", (side, side), "grey").save(path)
    tracemalloc.start()
    try:
        tiled_map(detector, str(path), tile)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * side**2 + 4 * 15 * tile**2 + 500_000


def test_one_that_cannot_be_read_is_an_error(detector, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageReadError):
        tiled_map(detector, str(tmp_path / "a.png"), 100)


def test_references_are_refused():
    images = make_defect_images(2, random_state=0).images
    with pytest.raises(ValueError, match=r"without --references .*words alone"):
        check_tiles(tiny(n_shots=1).fit(images))
