"""Every bad picture is one error that names it."""

import io
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pictures import Hostile, encoded, pixels_of, png, shades
from PIL import Image, ImageFile

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import (
    image_identity,
    read_image,
)


def write_bad_files(folder):
    """Return name -> path of files that are no pictures, or no whole ones."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    contents = {
        "truncated.jpg": encoded(image, "JPEG")[:-600],
        "truncated.png": encoded(image, "PNG")[:-2000],
        "truncated.gif": encoded(image, "GIF")[:-2000],
        "truncated.webp": encoded(image, "WEBP")[:-1000],
        "truncated.tiff": encoded(image, "TIFF")[:-3000],
        "truncated.bmp": encoded(image, "BMP")[:-3000],
        "header only.png": encoded(image, "PNG")[:33],
        "text.png": b"this is not a picture\n" * 20,
        "empty.png": b"",
        "one byte.jpg": b"\xff",
        "bomb.png": png(20_000, 20_000, 8, 2, b"\0" * 100),
        "small bomb.png": png(10_000, 10_000, 8, 2, b"\0" * 100),
        "no pixels.png": png(0, 5, 8, 2, b""),
        "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
        b"%%EndComments\n",
        "dark.tiff": encoded(Image.fromarray(np.full((4, 4), -5, np.int32)), "TIFF"),
        "bright.tiff": encoded(
            Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"
        ),
        "float.tiff": encoded(Image.fromarray(np.full((4, 4), 9, np.float32)), "TIFF"),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    return folder


BAD_FILES = {
    "truncated.jpg": "truncated",
    "truncated.png": "truncated|broken",
    "truncated.gif": "truncated|read",
    "truncated.webp": "not an image|could not|failed|truncated",
    "truncated.tiff": "truncated|not enough",
    "truncated.bmp": "truncated",
    "header only.png": "not an image|truncated|broken",
    "text.png": "not an image in a format that Pillow reads",
    "empty.png": "the file is empty",
    "one byte.jpg": "not an image in a format that Pillow reads",
    "bomb.png": "decompression bomb",
    "small bomb.png": "10000 x 10000 pixels.* bomb",
    "no pixels.png": "pixels|not an image|truncated|broken",
    "program.eps": "EPS files are programs",
    "dark.tiff": "from -5 to -5, but must lie in 0..65535",
    "bright.tiff": "from 70000 to 70000, but must lie in 0..65535",
    "float.tiff": "from 9 to 9, but must lie in 0..1;",
    "folder.jpg": "it is a folder; pass the files in it",
    "loop.jpg": "[Ss]ymbolic link|[Ll]ink",
    "dangling.jpg": "No such file",
    "pipe.jpg": "it is not a regular file",
    "missing.jpg": "No such file",
    "x" * 300 + ".jpg": "File name too long",
    "null\0byte.jpg": "null",
}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    return write_bad_files(tmp_path_factory.mktemp("bad"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.filterwarnings("ignore:Truncated File Read:UserWarning")
@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_named_with_their_row(bad_files, name):
    path = str(bad_files / name)
    with pytest.raises(
        ImageReadError, match=f"(?s)cannot be read:.*({BAD_FILES[name]})"
    ) as caught:
        read_image(path, 3)
    message = str(caught.value)
    assert message.startswith("Image 3 ('")
    assert message.endswith(
        'Replace the file, or set on_error="nan" to give its row NaN.'
    )
    if len(path) < 250:
        assert repr(path) in message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value.__cause__, Exception)


@pytest.mark.parametrize("name", ["folder.jpg", "missing.jpg", "empty.png", "pipe.jpg"])
def test_a_file_that_cannot_be_opened_has_no_identity(bad_files, name):
    with pytest.raises(ImageReadError, match="Image 5 .* cannot be read"):
        image_identity(bad_files / name, 5)


def test_a_file_that_may_not_be_read(tmp_path, picture, monkeypatch):
    # The rights of a file do not bind the superuser, who runs many a CI.
    def deny(path, mode):
        raise PermissionError(13, "Permission denied", path)

    Image.fromarray(picture).save(tmp_path / "a.png")
    monkeypatch.setattr("builtins.open", deny)
    with pytest.raises(ImageReadError, match="Permission denied"):
        read_image(tmp_path / "a.png", 0)


@pytest.mark.parametrize("action", ["ignore", "error"])
@pytest.mark.parametrize("name", ["bomb.png", "small bomb.png"])
def test_bombs_are_refused_whatever_the_warning_filter(bad_files, name, action):
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(ImageReadError, match="bomb"):
            read_image(bad_files / name, 0)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pillows_own_limit_on_pixels_is_used_and_left_alone(tmp_path, monkeypatch):
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 899)
    with pytest.raises(ImageReadError, match="30 x 30 pixels, more than .* = 899"):
        read_image(tmp_path / "a.png", 0)
    assert Image.MAX_IMAGE_PIXELS == 899
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read_image(tmp_path / "a.png", 0).size == (30, 30)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


BAD_ITEMS = {
    "None": (None, "None, a missing value"),
    "NaN": (float("nan"), "nan, a missing value"),
    "NA": (pd.NA, "NAType"),
    "number": (3, "object of type int"),
    "numpy number": (np.float64(3), "float64"),
    "dict": ({}, "object of type dict"),
    "list": ([[0, 1], [2, 3]], "object of type list"),
    "bytes": (b"\x89PNG", "object of type bytes"),
    "file object": (io.BytesIO(b"GIF"), "object of type BytesIO"),
    "hostile": (Hostile(), "object of type Hostile"),
    "empty path": ("", "No such file"),
    "NaN in array": (np.full((2, 2), np.nan), "NaN or infinite"),
    "infinite": (np.full((2, 2), np.inf), "NaN or infinite"),
    "float 0..255": (np.full((2, 2), 255.0), "from 255 to 255.*0..1.*0..255"),
    "negative float": (np.full((2, 2), -0.5), "from -0.5 to -0.5"),
    "int64": (shades(np.int64), r"dtype is int64.*astype\(np.uint8\)"),
    "uint32": (shades(np.uint32), "dtype is uint32"),
    "complex": (np.zeros((2, 2), complex), "dtype is complex128"),
    "strings": (np.array([["a"]]), "dtype is <U1"),
    "objects": (np.array([[None, 1]]), "dtype is object"),
    "no rows": (np.zeros((0, 5), np.uint8), "no pixels"),
    "no columns": (np.zeros((5, 0, 3), np.uint8), "no pixels"),
    "0-D": (np.array(3), r"shape is \(\)"),
    "1-D": (np.zeros(5), r"shape is \(5,\)"),
    "4-D": (np.zeros((1, 2, 2, 3)), r"shape is \(1, 2, 2, 3\)"),
    "2 channels": (np.zeros((5, 5, 2)), r"\(H, W, C\) with C in 1, 3, 4"),
    "channels first": (np.zeros((3, 5, 5)), r"transpose\(1, 2, 0\)"),
    "tensor channels last": (torch.zeros(5, 5, 3), r"permute\(2, 0, 1\)"),
    "tensor 5 channels": (torch.zeros(5, 6, 7), r"\(C, H, W\) with C in 1, 3, 4 is"),
    "tensor int64": (torch.zeros(5, 5, dtype=torch.int64), r"to\(torch.uint8\)"),
    "tensor NaN": (torch.full((2, 2), torch.nan), "NaN or infinite"),
    "tensor sparse": (torch.zeros(5, 5).to_sparse(), "cannot be read"),
    "tensor without data": (torch.zeros(5, 5, device="meta"), "cannot be read"),
    "PIL 0 wide": (Image.new("RGB", (0, 5)), "no pixels"),
    "PIL I out of range": (Image.new("I", (2, 2), 70_000), "0..65535"),
    "PIL F out of range": (Image.new("F", (2, 2), 255.0), "0..1; divide by 255"),
}


@pytest.mark.parametrize("kind", BAD_ITEMS)
def test_bad_items_are_named_with_their_row(kind):
    item, words = BAD_ITEMS[kind]
    with pytest.raises(ImageReadError, match=words) as caught:
        read_image(item, 7)
    assert str(caught.value).startswith("Image 7 (")
    assert isinstance(caught.value.__cause__, Exception)
    assert read_error_without_row(item).startswith("Image (")


def read_error_without_row(item):
    with pytest.raises(ImageReadError) as caught:
        read_image(item)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["None", "dict", "bytes", "hostile", "tensor sparse"])
def test_bad_items_have_no_identity(kind):
    with pytest.raises(ImageReadError, match="Image 7 "):
        image_identity(BAD_ITEMS[kind][0], 7)


def test_a_pil_image_whose_file_is_broken_is_refused(bad_files):
    with Image.open(bad_files / "truncated.jpg") as image:
        with pytest.raises(
            ImageReadError, match="PIL image of mode RGB and size 64x64"
        ):
            read_image(image, 0)


def test_names_that_are_not_utf8(tmp_path, picture):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")
    with pytest.raises(ImageReadError, match="No such file") as caught:
        read_image(name, 0)
    assert r"\udcff\udcfe.png" in str(caught.value)
    str(caught.value).encode()  # it can be printed
    Image.fromarray(picture).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", name)
    assert (pixels_of(name) == picture).all()
    assert len(image_identity(name)) == 40


def test_an_endless_path_does_not_make_an_endless_message():
    assert len(read_error_without_row("x" * 100_000)) < 600


SEEDS = {
    format: encoded(Image.effect_noise((12, 9), 40).convert("RGB"), format)
    for format in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "ICO")
}
FUZZ = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_or_refuse(path, content):
    path.write_bytes(content)
    try:
        image = read_image(path, 0)
    except ImageReadError:
        return
    assert image.mode == "RGB"
    assert image.getbbox() is None or min(image.size) >= 1


@FUZZ
@given(content=st.binary(max_size=300))
@example(content=b"\x89PNG\r\n\x1a\n")
@example(content=b"\xff\xd8\xff\xe0")
@pytest.mark.filterwarnings("ignore")
def test_random_bytes_are_a_picture_or_one_error(tmp_path, content):
    read_or_refuse(tmp_path / "a", content)


@FUZZ
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("format", SEEDS)
def test_mutated_files_are_a_picture_or_one_error(tmp_path, format, data):
    content = bytearray(SEEDS[format])
    places = st.integers(0, len(content) - 1)
    changes = data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8))
    for place, byte in changes:
        content[place] = byte
    end = data.draw(st.one_of(st.just(len(content)), places))
    read_or_refuse(tmp_path / "a", bytes(content[:end]))
