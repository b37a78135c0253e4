"""Every kind of picture comes out as upright 8-bit RGB."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import CORNERS, RED, WHITE, encoded, pixels_of, png, rgb, shades
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from skclipad._exceptions import ImageReadError
from skclipad._images.crops import crop_boxes
from skclipad._images.reading import image_identity, read_image, read_reduced
from skclipad._images.regions import cut_images, parse_region


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


@pytest.fixture
def smooth():
    """A picture whose halves and quarters are known: 1000 wide and 700 high."""
    return Image.radial_gradient("L").resize((1000, 700)).convert("RGB")


def reduced(path, side, crops="whole"):
    """Read a file for views of so many pixels a side."""
    return read_reduced(path, partial(crop_boxes, crops=crops), (side, side), 0)


@pytest.mark.parametrize(
    "side, size",
    [
        (40, (125, 88)),
        (44, (250, 175)),  # 88 pixels at an eighth, but of a boundary of 87.5
        (87, (250, 175)),
        (88, (500, 350)),
        (175, (500, 350)),
        (176, (1000, 700)),
        (700, (1000, 700)),
    ],
)
def test_a_large_jpeg_is_read_small_but_not_below_twice_the_size(
    tmp_path, smooth, side, size
):
    smooth.save(tmp_path / "a.jpg", quality=95)
    image, boxes = reduced(tmp_path / "a.jpg", side)
    assert image.size == size
    assert boxes == [(0, 0, *size)]
    small = np.asarray(smooth.resize(size, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(image) - small).mean() < 2
    assert read_image(tmp_path / "a.jpg", 0).size == (1000, 700)


def test_each_view_of_a_reduced_image_keeps_twice_its_size(tmp_path, smooth):
    smooth.save(tmp_path / "a.jpg", quality=95)
    for side in (40, 74, 75, 80, 148, 149):
        image, boxes = reduced(tmp_path / "a.jpg", side, "multi")
        sides = [min(right - left, foot - top) for left, top, right, foot in boxes]
        assert min(sides) >= 2 * side
        zoom = 1000 / image.width
        full = crop_boxes(1000, 700, "multi")
        assert np.abs(np.multiply(boxes, zoom) - full).max() < zoom
        if zoom < 8:  # another halving would be too much
            assert min(sides) / 2 < 2 * side
    assert reduced(tmp_path / "a.jpg", 75, "multi")[0].width == 500
    assert reduced(tmp_path / "a.jpg", 75)[0].width == 250


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "MPO"])
def test_a_reduced_jpeg_is_upright(tmp_path, picture, orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    large = Image.fromarray(picture).resize((960, 640), Image.Resampling.NEAREST)
    large.save(tmp_path / "a.jpg", format, exif=exif)
    asked = []

    def boxes_of(width, height):
        asked.append((width, height))
        return [(0, 0, width / 2, height)]

    image, boxes = read_reduced(tmp_path / "a.jpg", boxes_of, (40, 40))
    full = read_image(tmp_path / "a.jpg")
    assert asked == [full.size]
    assert image.size == (full.width // 4, full.height // 4)
    assert boxes == [(0, 0, image.width / 2, image.height)]
    small = np.asarray(full.resize(image.size, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(image) - small).mean() < 2


def test_other_formats_arrays_and_regions_are_read_in_full(tmp_path, smooth):
    smooth.save(tmp_path / "a.png")
    smooth.save(tmp_path / "a.jpg")
    (cut,) = cut_images([tmp_path / "a.jpg"], parse_region("100,50,800,600"))
    for item in (tmp_path / "a.png", smooth, np.asarray(smooth)):
        assert reduced(item, 20)[0].size == (1000, 700)
    image, boxes = reduced(cut, 20)
    assert image.size == (800, 600)
    assert boxes == [(0, 0, 800, 600)]


def test_a_jpeg_that_ends_early_is_refused_at_any_size(tmp_path, smooth):
    (tmp_path / "a.jpg").write_bytes(encoded(smooth, "JPEG")[:-4000])
    for side in (40, 700):
        with pytest.raises(ImageReadError, match=r"Image 0 .*truncated"):
            reduced(tmp_path / "a.jpg", side)


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
