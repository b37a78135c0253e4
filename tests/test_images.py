"""Every kind of picture comes out as upright 8-bit RGB, every bad one as one error."""

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo
from scipy import sparse

from skclipad._exceptions import ImageReadError
from skclipad._images import (
    as_image_list,
    describe_item,
    image_identity,
    is_embeddings,
    read_image,
)

RED, WHITE = (255, 0, 0), (255, 255, 255)
# Four flat quarters: a turned or mirrored picture shows at the corners, and JPEG
# keeps them within a few levels.
CORNERS = {
    "top left": (200, 40, 40),
    "top right": (40, 160, 40),
    "bottom left": (40, 40, 200),
    "bottom right": (230, 220, 60),
}


@pytest.fixture(scope="module")
def picture():
    """An upright picture, 48 wide and 32 high, in four colours."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24], pixels[:16, 24:], pixels[16:, :24], pixels[16:, 24:] = (
        CORNERS.values()
    )
    return pixels


def shades(dtype=np.uint8):
    """Return 4 x 4 grey values 0, 17, ... 255."""
    return (np.arange(16).reshape(4, 4) * 17).astype(dtype)


def pixels_of(item, **options):
    image = read_image(item, 0, **options)
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    return np.asarray(image)


def rgb(grey):
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=-1)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width, height, depth, colour_type, scanlines):
    """Write a PNG by hand, as Pillow writes no 16-bit colour and no bombs."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(scanlines))
        + chunk(b"IEND", b"")
    )


# -- what is read ----------------------------------------------------------------


@pytest.mark.parametrize(
    "format", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF", "JPEG", "TGA", "ICO"]
)
@pytest.mark.parametrize("kind", [str, Path])
def test_file_formats(tmp_path, picture, format, kind):
    path = tmp_path / f"picture.{format.lower()}"
    options = {
        "WEBP": {"lossless": True},
        "ICO": {"sizes": [(48, 32)]},
        "JPEG": {"quality": 95, "subsampling": 0},
    }
    Image.fromarray(picture).save(path, format, **options.get(format, {}))
    out = pixels_of(kind(path))
    assert out.shape == picture.shape
    tolerance = 12 if format == "JPEG" else 0
    assert np.abs(out.astype(int) - picture).max() <= tolerance


def test_a_path_like_object_may_name_its_file_in_bytes(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")

    class PathOfBytes:
        def __fspath__(self):
            return os.fsencode(tmp_path / "a.png")

    assert (pixels_of(PathOfBytes()) == picture).all()


GREY_128 = (128, 128, 128)
MODES = {
    "1": (1, WHITE),
    "L": (128, GREY_128),
    "LA": ((0, 128), (127, 127, 127)),
    "La": ((0, 128), (127, 127, 127)),
    "P": (7, RED),
    "PA": ((7, 128), (255, 127, 127)),
    "RGB": (RED, RED),
    "RGBA": ((255, 0, 0, 128), (255, 127, 127)),
    "RGBa": ((128, 0, 0, 128), (255, 127, 127)),
    "RGBX": ((255, 0, 0, 0), RED),
    "CMYK": ((0, 255, 255, 0), RED),
    "YCbCr": ((128, 128, 128), GREY_128),
    "LAB": ((255, 128, 128), WHITE),
    "HSV": ((0, 255, 255), RED),
    "I": (32896, GREY_128),
    "I;16": (32896, GREY_128),
    "I;16L": (32896, GREY_128),
    "I;16B": (32896, GREY_128),
    "I;16N": (32896, GREY_128),
    "F": (128 / 255, GREY_128),
}


@pytest.mark.parametrize("mode", MODES)
def test_pil_images_of_every_mode(mode):
    colour, expected = MODES[mode]
    image = Image.new(mode, (5, 3))
    if mode in ("P", "PA"):
        image.putpalette([0, 0, 0] * 7 + list(RED))
    if mode == "La":  # new() and paste() know no La; convert() makes it
        image = Image.new("LA", (5, 3), colour).convert("La")
    else:
        image.paste(colour, (0, 0, 5, 3))
    assert image.mode == mode
    before = image.tobytes()
    out = pixels_of(image)
    assert out.shape == (3, 5, 3)
    assert np.abs(out.astype(int) - expected).max() <= 1
    assert (image.mode, image.tobytes()) == (mode, before)


def test_the_modes_are_all_that_pillow_has():
    # A mode that a later Pillow brings must be looked at.
    known = {"1", "CMYK", "F", "HSV", "I", "L", "LA", "La", "LAB", "P", "PA"}
    known |= {"RGB", "RGBA", "RGBa", "RGBX", "YCbCr"}
    assert set(Image.MODES) <= set(MODES)
    assert known <= set(MODES)


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "TIFF"])
def test_transparent_pixels_lie_on_white(tmp_path, format):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 8, 4))
    options = {"lossless": True} if format == "WEBP" else {}
    (tmp_path / "a").write_bytes(encoded(image, format, **options))
    out = pixels_of(tmp_path / "a")
    assert (out[0, 0] == WHITE).all()
    assert (out[7, 7] == RED).all()


@pytest.mark.parametrize(
    ("mode", "ink", "transparency"),
    [
        ("P", 1, 0),  # one palette entry
        ("P", 1, bytes([0, 255])),  # an alpha for each entry
        ("L", 76, 0),  # one grey value
        ("RGB", RED, (0, 0, 0)),  # one colour
        ("1", 1, 0),
    ],
)
def test_a_transparent_colour_of_a_png_becomes_white(mode, ink, transparency, tmp_path):
    image = Image.new(mode, (4, 2), 0)
    if mode == "P":
        image.putpalette([0, 0, 0, *RED])
    image.paste(ink, (2, 0, 4, 2))
    image.save(tmp_path / "a.png", transparency=transparency)
    out = pixels_of(tmp_path / "a.png")
    assert (out[:, :2] == WHITE).all()
    expected = {"L": (76, 76, 76), "1": WHITE}.get(mode, RED)
    assert (out[:, 2:] == expected).all()


def test_palette_with_alpha_of_its_own():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 255, 0, 0, 0, 0], "RGBA")
    image.putpixel((1, 0), 1)
    assert pixels_of(image).tolist() == [[list(RED), list(WHITE)]]


def test_cmyk_jpeg(tmp_path):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    image.save(tmp_path / "a.jpg", quality=95)
    out = pixels_of(tmp_path / "a.jpg").astype(int)
    assert np.abs(out - RED).max() <= 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(tmp_path, picture, orientation, format):
    # The way back from upright to how the camera stored it.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(picture)
    if orientation in stored:
        image = image.transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a"
    path.write_bytes(encoded(image, format, exif=exif))
    for item in (path, Image.open(path)):
        out = pixels_of(item).astype(int)
        assert out.shape == picture.shape
        found = out[4, 4], out[4, -4], out[-4, 4], out[-4, -4]
        assert np.abs(np.array(found) - list(CORNERS.values())).max() <= 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"\xff" * 40]
)
def test_broken_exif_leaves_the_picture_as_stored(tmp_path, picture, exif):
    path = tmp_path / "a.jpg"
    Image.fromarray(picture).save(path, exif=exif)
    assert pixels_of(path).shape == picture.shape


def test_exif_that_pillow_cannot_read_leaves_the_picture_as_stored(tmp_path, picture):
    about = PngInfo()
    about.add_text("Raw profile type exif", "exif\n1\n2\nthis is not hexadecimal")
    Image.fromarray(picture).save(tmp_path / "a.png", pnginfo=about)
    with Image.open(tmp_path / "a.png") as image, pytest.raises(ValueError):
        image.getexif()
    assert (pixels_of(tmp_path / "a.png") == picture).all()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(picture, orientation):
    image = Image.fromarray(picture)
    image.getexif()[0x0112] = orientation
    assert (pixels_of(image) == picture).all()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_files_use_their_full_range(tmp_path, format):
    path = tmp_path / "a"
    path.write_bytes(encoded(Image.fromarray(shades(np.uint16) * 257), format))
    assert (pixels_of(path) == rgb(shades())).all()


def test_16_bit_values_go_to_the_nearest_8_bit_value():
    values = np.array([[0, 128, 129, 385, 386, 65406, 65407, 65535]], np.uint16)
    assert pixels_of(values)[0, :, 0].tolist() == [0, 0, 1, 1, 2, 254, 255, 255]


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4)])
def test_16_bit_colour_png(tmp_path, colour_type, channels):
    values = np.array([255, 128, 0, 255][:channels], np.uint16) * 257
    scanline = b"\0" + np.tile(values, 2).astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, colour_type, scanline))
    assert pixels_of(tmp_path / "a.png").tolist() == [[[255, 128, 0]] * 2]


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animated_files_show_their_first_frame(tmp_path, format):
    frames = [Image.new("RGB", (12, 8), colour) for colour in (RED, "blue", "lime")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(
        frames[0], format, save_all=True, append_images=frames[1:], **options
    )
    (tmp_path / "a").write_bytes(data)
    image = read_image(tmp_path / "a", 0)
    assert (np.asarray(image) == RED).all()
    # It still works after the file behind it is closed.
    assert image.resize((3, 2)).getpixel((0, 0)) == RED


ARRAYS = {
    "uint8 (H, W)": shades(),
    "uint8 (H, W, 1)": shades()[..., None],
    "uint8 (H, W, 3)": rgb(shades()),
    "uint8 (H, W, 4)": np.dstack([rgb(shades()), np.full((4, 4), 255, np.uint8)]),
    "uint8 not contiguous": np.repeat(rgb(shades()), 2, axis=1)[:, ::2],
    "uint8 Fortran": np.asfortranarray(rgb(shades())),
    "uint8 read-only": np.broadcast_to(shades()[..., None], (4, 4, 3)),
    "uint16 (H, W)": shades(np.uint16) * 257,
    "uint16 big-endian": (shades(np.uint16) * 257).astype(">u2"),
    "uint16 (H, W, 3)": rgb(shades()).astype(np.uint16) * 257,
    "float16 (H, W)": (shades() / 255).astype(np.float16),
    "float32 (H, W, 3)": (rgb(shades()) / 255).astype(np.float32),
    "float64 (H, W)": shades() / 255,
    "float64 a hair outside 0..1": np.where(shades() == 0, -1e-7, shades() / 255),
    "tensor uint8 (H, W)": torch.from_numpy(shades()),
    "tensor uint8 (1, H, W)": torch.from_numpy(shades())[None],
    "tensor uint8 (3, H, W)": torch.from_numpy(shades()).expand(3, 4, 4),
    "tensor float32 (3, H, W)": torch.from_numpy(shades() / 255).expand(3, 4, 4),
    "tensor float16": torch.from_numpy(shades() / 255).half(),
    "tensor with gradient": (torch.from_numpy(shades()) / 255).requires_grad_(),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_and_tensors(kind):
    assert (pixels_of(ARRAYS[kind]) == rgb(shades())).all()


def test_bfloat16_tensors_have_8_bits_of_precision():
    out = pixels_of((torch.from_numpy(shades()) / 255).bfloat16())
    assert np.abs(out.astype(int) - rgb(shades())).max() <= 1


def test_boolean_arrays_are_black_and_white():
    assert (pixels_of(shades() > 100) == rgb((shades() > 100) * 255)).all()


def test_alpha_of_an_array_is_composited_on_white():
    clear = np.zeros((2, 2, 4))
    assert (pixels_of(clear) == 255).all()
    assert (pixels_of(torch.zeros(4, 2, 2)) == 255).all()


def test_every_8_bit_value_survives_the_way_through_float_and_16_bits():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for same in (
        levels / 255,
        np.float32(levels) / 255,
        levels.astype(np.uint16) * 257,
    ):
        assert (pixels_of(same)[..., 0] == levels).all()


def test_an_object_that_offers_an_array_is_read_as_one():
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return shades()

    assert (pixels_of(Wrapped()) == rgb(shades())).all()


def test_subclasses_of_tensors_are_tensors():
    from torchvision import tv_tensors

    tensor = tv_tensors.Image(torch.from_numpy(shades()).expand(3, 4, 4))
    assert (pixels_of(tensor) == rgb(shades())).all()


def test_draft_decodes_a_large_jpeg_small_but_never_below_twice_the_size(tmp_path):
    smooth = Image.radial_gradient("L").resize((1000, 700)).convert("RGB")
    smooth.save(tmp_path / "a.jpg", quality=95)
    for draft_size in (40, 80, 150, 300, 400):
        image = read_image(tmp_path / "a.jpg", 0, draft_size=draft_size)
        assert min(image.size) >= min(700, 2 * draft_size)
        small = np.asarray(smooth.resize(image.size, Image.Resampling.BOX)).astype(int)
        assert np.abs(np.asarray(image) - small).mean() < 2
    assert read_image(tmp_path / "a.jpg", 0, draft_size=80).size == (250, 175)
    assert read_image(tmp_path / "a.jpg", 0).size == (1000, 700)


def test_draft_leaves_other_formats_alone(tmp_path):
    Image.new("RGB", (400, 400)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", 0, draft_size=20).size == (400, 400)


@pytest.mark.parametrize("seed", range(2))
def test_eight_threads_read_the_same_pictures_alike(tmp_path, seed):
    rng = np.random.default_rng(seed)
    formats = ["PNG", "JPEG", "GIF", "TIFF", "WEBP"]
    for number, format in enumerate(formats):
        noise = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
        noise.save(tmp_path / str(number), format)
    paths = [tmp_path / str(number) for number in range(len(formats))]
    expected = [pixels_of(path) for path in paths]
    lazy = [Image.open(path) for path in paths]  # one object for all threads
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            (pool.submit(pixels_of, item), pixels)
            for _ in range(12)
            for items in (paths, lazy)
            for item, pixels in zip(items, expected, strict=True)
        ]
        assert all((job.result() == pixels).all() for job, pixels in jobs)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_no_file_stays_open(tmp_path, picture):
    good, bad = tmp_path / "good.gif", tmp_path / "bad.png"
    Image.fromarray(picture).save(good)
    bad.write_bytes(encoded(Image.fromarray(picture), "PNG")[:60])
    before = len(os.listdir("/proc/self/fd"))
    kept = [read_image(good, 0) for _ in range(5)]
    for _ in range(5):
        # The error is kept too: its traceback keeps every frame alive.
        with pytest.raises(ImageReadError) as caught:
            read_image(bad, 0)
        kept.append(caught)
        image_identity(good)
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(kept) == 10


# -- what is refused -------------------------------------------------------------


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


class Hostile:
    """Nothing about this object works."""

    def __fspath__(self):
        raise RuntimeError("no path")

    def __repr__(self):
        raise RuntimeError("no name")


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


# -- what is a name --------------------------------------------------------------


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


# -- what is a collection --------------------------------------------------------

VECTORS = np.array([[0.1, 0.2], [0.3, 0.4]])
EMBEDDINGS = {
    "float64": VECTORS,
    "float32": VECTORS.astype(np.float32),
    "uint8": np.zeros((4, 4), np.uint8),
    "bool": np.zeros((4, 4), bool),
    "objects that are numbers": VECTORS.astype(object),
    "no rows": np.zeros((0, 4)),
    "one column": np.zeros((4, 1)),
    "tensor": torch.zeros(2, 3),
    "pandas": pd.DataFrame(VECTORS),
    "pandas nullable": pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    "polars": pl.DataFrame(VECTORS),
    "lists": VECTORS.tolist(),
    "tuples": tuple(map(tuple, VECTORS)),
    "arrays": list(VECTORS),
    "tensors": [torch.zeros(3), torch.zeros(3)],
}


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_two_dimensional_numbers_are_embeddings(kind):
    assert is_embeddings(EMBEDDINGS[kind])


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.coo_array])
def test_sparse_input_is_not_supported(make):
    with pytest.raises(TypeError, match="sparse.*not supported.*toarray"):
        is_embeddings(make(np.eye(3)))


def test_sparse_tensors_are_not_supported():
    with pytest.raises(TypeError, match="sparse.*not supported.*to_dense"):
        is_embeddings(torch.eye(3).to_sparse())


PATHS = ["a.jpg", "b.jpg", "c.jpg"]
GREYS = [shades(), shades() // 2]
COLLECTIONS = {
    "list of paths": PATHS,
    "tuple of paths": tuple(map(Path, PATHS)),
    "array of paths": np.array(PATHS),
    "object array": np.array(PATHS, dtype=object),
    "column of paths": np.array(PATHS)[:, None],
    "column of numpy strings": np.array([[np.str_(p)] for p in PATHS], dtype=object),
    "object column": np.array([None, *PATHS], dtype=object)[:, None],
    "pandas Series": pd.Series(PATHS, index=[5, 6, 5]),
    "pandas Series of objects": pd.Series(PATHS, dtype=object),
    "pandas category": pd.Series(PATHS, dtype="category"),
    "pandas Index": pd.Index(PATHS),
    "pandas column": pd.DataFrame({"image": PATHS}, index=[5, 6, 5]),
    "polars Series": pl.Series(PATHS),
    "polars column": pl.DataFrame({"image": PATHS}),
    "list of grey arrays": GREYS,
    "list of colour arrays": [rgb(grey) for grey in GREYS],
    "list of tensors": [torch.zeros(3, 4, 4), torch.zeros(4, 4)],
    "list of PIL images": [Image.new("L", (4, 4)), Image.new("RGB", (5, 5))],
    "list with gaps": ["a.jpg", None, float("nan")],
    "stack (n, H, W)": np.zeros((2, 8, 9)),
    "stack (n, H, W, 1)": np.zeros((2, 8, 9, 1)),
    "stack (n, H, W, 3)": np.zeros((2, 8, 9, 3), np.uint8),
    "stack (n, H, W, 4)": np.zeros((2, 8, 9, 4)),
    "tensor stack (n, H, W)": torch.zeros(5, 8, 9),
    "tensor stack (n, C, H, W)": torch.zeros(2, 3, 8, 9),
}


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_collections_keep_their_items_in_order(kind):
    X = COLLECTIONS[kind]
    assert not is_embeddings(X)
    images = as_image_list(X)
    items = list(images)
    assert len(images) == len(items) == len(X)
    if str(items[0]) == "a.jpg":
        gaps = 2 if "gaps" in kind else 0
        assert [str(item) for item in items[: 3 - gaps]] == PATHS[: 3 - gaps]
    if "stack" in kind:
        assert all(tuple(item.shape) == tuple(X.shape[1:]) for item in items)
        assert all(read_image(item, 0).size == (9, 8) for item in items)


def test_missing_values_of_a_column_stay_items_of_their_rows():
    for X in (pd.Series(["a.jpg", None]), pl.Series(["a.jpg", None])):
        first, second = as_image_list(X)
        assert first == "a.jpg"
        with pytest.raises(ImageReadError, match="Image 1 .*missing value"):
            read_image(second, 1)


def test_generators_are_read_once_and_only_as_far_as_asked():
    asked = []

    def paths():
        for path in PATHS:
            asked.append(path)
            yield path

    X = paths()
    assert not is_embeddings(X)
    images = as_image_list(X)
    assert not hasattr(images, "__len__")
    assert asked == []
    assert next(iter(images)) == "a.jpg"
    assert asked == ["a.jpg"]
    assert list(images) == PATHS[1:]


SINGLE = {
    "str": ("a.jpg", TypeError),
    "Path": (Path("a.jpg"), TypeError),
    "bytes": (b"a.jpg", TypeError),
    "PIL": (Image.new("RGB", (4, 4)), TypeError),
    "array": (np.zeros((5, 5, 3)), ValueError),
    "grey array": (np.zeros((5, 5, 1)), ValueError),
    "tensor": (torch.zeros(3, 5, 5), ValueError),
}


@pytest.mark.parametrize("kind", SINGLE)
def test_a_single_image_is_a_mistake_with_a_hint(kind):
    X, error = SINGLE[kind]
    assert not is_embeddings(X)
    with pytest.raises(error, match=r"Got a single image, .*pass \[image\]") as caught:
        as_image_list(X)
    if error is ValueError:
        assert "list(X) if it is a stack of" in str(caught.value)


@pytest.mark.parametrize(
    "X",
    [
        [],
        (),
        np.array([]),
        np.zeros((0, 4, 4)),
        np.zeros((0, 4, 4, 3)),
        np.array([], dtype=str),
        torch.zeros(0, 3, 4, 4),
        pd.Series([], dtype=str),
        pl.Series([], dtype=pl.String),
        pd.DataFrame({"image": []}, dtype=str),
        iter([]),
    ],
    ids=lambda X: type(X).__name__,
)
def test_nothing_at_all_is_refused_in_scikit_learns_words(X):
    assert not is_embeddings(X)
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\) \(shape="):
        list(as_image_list(X))


NO_COLLECTIONS = {
    "None": (None, TypeError, "type NoneType"),
    "number": (3, TypeError, "type int"),
    "dict": ({"a": 1}, TypeError, "type dict"),
    "set": ({"a.jpg"}, TypeError, "type set"),
    "1-D numbers": (np.zeros(4), ValueError, "Reshape your data"),
    "1-D tensor": (torch.zeros(4), ValueError, "Reshape your data"),
    "list of numbers": ([0.1, 0.2], ValueError, "Reshape your data"),
    "Series of numbers": (pd.Series([0.1]), ValueError, "Reshape your data"),
    "0-D": (np.array(3.0), ValueError, r"shape \(\)"),
    "5-D": (np.zeros((1, 1, 1, 1, 1)), ValueError, r"expected a stack"),
    "channels first": (np.zeros((2, 3, 8, 8)), ValueError, r"moveaxis\(X, 1, -1\)"),
    "5 channels": (np.zeros((2, 8, 8, 5)), ValueError, "1, 3 or 4 channels on axis -1"),
    "tensor last": (torch.zeros(2, 8, 8, 3), ValueError, r"permute\(0, 3, 1, 2\)"),
    "two columns of paths": (np.array([PATHS, PATHS]), ValueError, "expected a stack"),
    "two columns": (
        pd.DataFrame({"image": PATHS, "object": PATHS}),
        ValueError,
        r"2 columns \['image', 'object'\].*X\[\[name\]\]",
    ),
}


@pytest.mark.parametrize("kind", NO_COLLECTIONS)
def test_other_input_is_refused_with_what_to_do(kind):
    X, error, words = NO_COLLECTIONS[kind]
    assert not is_embeddings(X)
    with pytest.raises(error, match=words):
        as_image_list(X)


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
