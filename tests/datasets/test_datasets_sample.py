"""Photographs that come with the package."""

from pathlib import Path

from PIL import Image

from skclipad.datasets import load_sample_photos


def test_sample_photos_are_labelled_licensed_and_small():
    photos = load_sample_photos()
    assert 40 <= len(photos.paths) <= 60
    assert set(photos.target) == {0, 1}
    assert (photos.target == (photos.defect != "good")).all()
    assert "Licence: The Unlicense" in photos.DESCR
    assert sum(Path(path).stat().st_size for path in photos.paths) <= 1_500_000

    with Image.open(photos.paths[0]) as image:
        assert image.size == (200, 290)
