"""Which images are the same, and how messages call an image."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import Hostile, encoded
from PIL import Image

from skclipad._images.reading import describe_item, image_identity


def test_copies_of_a_file_share_their_identity(tmp_path, picture):
    content = encoded(Image.fromarray(picture), "PNG")
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "c.png").symlink_to(tmp_path / "a.png")
    names = {image_identity(tmp_path / name) for name in ("a.png", "b.png", "c.png")}
    assert len(names) == 1
    (tmp_path / "b.png").write_bytes(content + b"\0")
    assert image_identity(str(tmp_path / "b.png")) not in names


def test_equal_pixels_share_their_identity(picture):
    image = Image.fromarray(picture)
    assert image_identity(image) == image_identity(image.copy())
    assert image_identity(picture) == image_identity(picture.copy(order="F"))
    assert image_identity(picture[::2]) == image_identity(picture[::2].copy())
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    assert image_identity(tensor) == image_identity(tensor.contiguous())


def test_every_difference_that_shows_changes_the_identity(picture):
    image = Image.fromarray(picture)
    turned = image.copy()
    turned.getexif()[0x0112] = 6
    palette = image.quantize(4)
    other_palette = palette.copy()
    other_palette.putpalette([1, 2, 3] * 4)
    clear = palette.copy()
    clear.info["transparency"] = 0
    one = picture.copy()
    one[0, 0, 0] += 1
    different = [
        image,
        turned,
        palette,
        other_palette,
        clear,
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        Image.frombytes("RGB", image.size[::-1], image.tobytes()),
        Image.frombytes("YCbCr", image.size, image.tobytes()),
        picture,
        one,
        picture.reshape(48, 32, 3),
        picture.astype(np.uint16),
        torch.from_numpy(picture),  # (C, H, W), not (H, W, C)
    ]
    assert len({image_identity(item) for item in different}) == len(different)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("it's.jpg", '"it\'s.jpg"'),
        (Path("a") / "b.jpg", repr(os.path.join("a", "b.jpg"))),
        (Image.new("P", (10, 20)), "PIL image of mode P and size 10x20"),
        (np.zeros((2, 3), np.uint8), "array of shape (2, 3) and dtype uint8"),
        (torch.zeros(2, 3), "tensor of shape (2, 3) and dtype torch.float32"),
        (None, "None, a missing value"),
        ({}, "object of type dict"),
        (Hostile(), "object of type Hostile"),
    ],
)
def test_items_are_described_in_a_few_words(item, words):
    assert describe_item(item) == words
