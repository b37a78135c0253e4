"""More than 8 bits: 12 of them in 16, planes, transparent colours, files mixed up."""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import PIL
import pytest
import torch
from pictures import encoded, pixels_of, png
from PIL import Image
from tiffs import CMYK, GREY, GREY_INVERTED, RGB, tiff

from skclipad import CLIPImageEmbedder, ImageReadError, RandomWordCLIPDetector
from skclipad._images.reading import BitDepth, image_identity
from skclipad.cli import main
from skclipad.scoring._rows import detector_of_rows, score_rows

# -- layouts of TIFF, against the truth --------------------------------------------


def channels(n):
    """Return pixels of n channels that differ in every direction."""
    y, x = np.mgrid[0:20, 0:24]
    ramps = [x * 10, y * 12, (x + y) * 5, 255 - x * 4]
    return np.stack((ramps * 2)[:n], axis=-1).astype(np.uint8)


def seen(pixels, photometric, extra):
    """Return what the pixels of a TIFF show, as RGB floats."""
    pixels = pixels.astype(float)
    if photometric == CMYK:
        return (255 - pixels[..., :3]) * (255 - pixels[..., 3:]) / 255
    n_colours = 3 if photometric == RGB else 1
    colours = pixels[..., :n_colours]
    if photometric == GREY_INVERTED:
        colours = 255 - colours
    # Four channels of which nothing more is said are taken for RGBA.
    if extra[:1] in ((1,), (2,)) or (pixels.shape[-1] == 4 and not extra):
        alpha = pixels[..., n_colours, None] / 255
        colours = colours * (1 if extra[:1] == (1,) else alpha) + 255 * (1 - alpha)
    return np.broadcast_to(colours, (*pixels.shape[:2], 3))


KINDS = {
    "grey": (1, GREY, ()),
    "grey, white is zero": (1, GREY_INVERTED, ()),
    "grey and alpha": (2, GREY, (2,)),
    "grey and another": (2, GREY, (0,)),
    "RGB": (3, RGB, ()),
    "RGBA": (4, RGB, (2,)),
    "RGBA, not said so": (4, RGB, ()),
    "RGBA, multiplied": (4, RGB, (1,)),
    "RGB and another": (4, RGB, (0,)),
    "RGB and two others": (5, RGB, (0, 0)),
    "RGBA and another": (5, RGB, (2, 0)),
    "CMYK": (4, CMYK, ()),
}
READ = {"grey", "RGB"}  # in every layout; of others some are refused
OLD_PILLOW = int(PIL.__version__.split(".")[0]) < 11  # opens fewer of them


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tiff_of_any_layout_is_read_rightly_or_refused(tmp_path, kind, bits):
    n, photometric, extra = KINDS[kind]
    pixels = channels(n)
    if extra == (1,):
        pixels[..., :3] = pixels[..., :3] / 255.0 * pixels[..., 3:]
    stored = pixels if bits == 8 else pixels.astype(np.uint16) * 257
    n_read = 0
    for planar, big_endian, compressed, rows in product(
        [False, True], [False, True], [False, True], [None, 7]
    ):
        path = tmp_path / "a.tif"
        layout = {
            "planar": planar,
            "big_endian": big_endian,
            "compressed": compressed,
            "rows_per_strip": rows,
        }
        path.write_bytes(tiff(stored, photometric=photometric, extra=extra, **layout))
        try:
            out = pixels_of(path)
        except ImageReadError:
            assert kind not in READ
            continue
        n_read += 1
        expected = seen(pixels, photometric, extra)
        assert np.abs(out - expected).max() <= 2, layout
        with Image.open(path) as image:  # not decoded by anybody yet
            np.testing.assert_array_equal(pixels_of(image), out)
    assert n_read >= 8 or bits == 16 or (OLD_PILLOW and kind not in READ)


def test_planes_that_pillow_mixes_up_are_refused_with_what_to_do(tmp_path):
    for n, photometric, bits in ((4, CMYK, 16), (4, RGB, 8)):
        stored = channels(n).astype(f"uint{bits}")
        compressed = bits == 8
        data = tiff(stored, photometric=photometric, planar=True, compressed=compressed)
        (tmp_path / "a.tif").write_bytes(data)
        with pytest.raises(ImageReadError, match="PlanarConfiguration 1.*or as PNG"):
            pixels_of(tmp_path / "a.tif")


def test_a_planar_tiff_that_is_turned(tmp_path):
    stored = channels(3).astype(np.uint16) * 257
    (tmp_path / "a.tif").write_bytes(tiff(stored, planar=True, orientation=6))
    out = pixels_of(tmp_path / "a.tif")
    assert np.abs(out.astype(int) - np.rot90(channels(3), -1)).max() <= 1


def test_a_tiff_of_12_bits_says_so_itself(tmp_path):
    values = (np.arange(480).reshape(20, 24, 1) * 8).astype(np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(values, bits=12))
    expected = np.rint(values[..., 0] * 255.0 / 4095)
    assert (pixels_of(tmp_path / "a.tif")[..., 0] == expected).all()
    assert (pixels_of(Image.open(tmp_path / "a.tif"))[..., 0] == expected).all()


def test_what_only_a_tag_tells_apart_has_another_identity(tmp_path):
    stored = channels(1).astype(np.uint16) * 257
    for name, photometric in (("a", GREY), ("b", GREY_INVERTED)):
        (tmp_path / name).write_bytes(tiff(stored, photometric=photometric))
    images = [Image.open(tmp_path / name) for name in "ab"]
    assert image_identity(images[0]) != image_identity(images[1])


# -- transparent colours of PNG ----------------------------------------------------

# Pixels: the transparent colour, one that differs from it in its lowest bit, another.
TRANSPARENT = {
    "grey of 16 bits": (16, 0, [[0x1234], [0x1235], [0xC0C0]]),
    "grey of 8 bits": (8, 0, [[0x12], [0x13], [0xC0]]),
    "grey of 4 bits": (4, 0, [[5], [6], [12]]),
    "grey of 2 bits": (2, 0, [[1], [2], [3]]),
    "colour of 16 bits": (
        16,
        2,
        [[0x1234, 0x5678, 0x9ABC], [0x1234, 0x5679, 0x9ABC], [0, 0xFFFF, 0]],
    ),
    "dark colour of 16 bits": (16, 2, [[7, 7, 7], [7, 7, 8], [0, 0xFFFF, 0]]),
    "colour of 8 bits": (8, 2, [[1, 2, 3], [1, 2, 4], [0, 255, 0]]),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_the_transparent_colour_of_a_png_of_any_depth_becomes_white(tmp_path, kind):
    depth, colour_type, colours = TRANSPARENT[kind]
    if depth < 8:
        bits = "".join(f"{value:0{depth}b}" for (value,) in colours).ljust(16, "0")
        line = int(bits, 2).to_bytes(2, "big")
    else:
        line = np.array(colours, f">u{depth // 8}").tobytes()
    transparent = np.array(colours[0], ">u2").tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(png(3, 1, depth, colour_type, b"\0" + line, transparent))
    out = pixels_of(path)[0]
    expected = np.rint(np.array(colours) * 255 / (2**depth - 1))
    assert (out[0] == 255).all()
    assert np.abs(out[1:] - expected[1:]).max() <= 1
    again = pixels_of(Image.open(path))[0]
    assert (again[0] == 255).all() and np.abs(again[2] - expected[2]).max() <= 1


@pytest.mark.parametrize(("colour_type", "colour"), [(4, [50]), (6, [50, 100, 150])])
def test_alpha_of_a_16_bit_png_is_laid_on_white(tmp_path, colour_type, colour):
    pixels = np.array([[*colour, 0], [*colour, 255], [*colour, 128]]) * 257
    line = b"\0" + pixels.astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(3, 1, 16, colour_type, line))
    half = np.array(colour) * 128 / 255 + 127
    expected = [np.full(3, 255), np.broadcast_to(colour, 3), np.broadcast_to(half, 3)]
    assert np.abs(pixels_of(tmp_path / "a.png")[0] - np.stack(expected)).max() <= 1


# -- fewer bits than the file has room for -----------------------------------------

GREY_12 = (np.arange(48 * 48).reshape(48, 48) % 4096).astype(np.uint16)
COLOUR_12 = np.stack([GREY_12, GREY_12.T, 4095 - GREY_12], axis=-1)


def png_16(pixels):
    height, width, n = pixels.shape
    lines = pixels.astype(">u2").tobytes()
    size = len(lines) // height
    rows = [b"\0" + lines[i : i + size] for i in range(0, len(lines), size)]
    return png(width, height, 16, {1: 0, 3: 2, 4: 6}[n], b"".join(rows))


def items_of_12_bits(folder):
    """Return every kind of 16-bit image whose values have 12 bits, and its channels."""
    files = {
        "grey.png": png_16(GREY_12[..., None]),
        "grey.tif": encoded(Image.fromarray(GREY_12), "TIFF"),
        "colour.png": png_16(COLOUR_12),
        "colour.tif": tiff(COLOUR_12),
        "big.tif": tiff(COLOUR_12, big_endian=True),
        "deflated.tif": tiff(COLOUR_12, compressed=True),
        "planar.tif": tiff(COLOUR_12, planar=True),
        "planar big.tif": tiff(COLOUR_12, planar=True, big_endian=True),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    items = {name: folder / name for name in files}
    items["grey array"], items["colour array"] = GREY_12, COLOUR_12
    items["grey PIL"] = Image.fromarray(GREY_12)
    items["grey PIL of mode I"] = Image.fromarray(GREY_12.astype(np.int32))
    if hasattr(torch, "uint16"):
        items["colour tensor"] = torch.from_numpy(COLOUR_12).permute(2, 0, 1)
    return items


def test_every_kind_of_16_bit_image_obeys_bit_depth(tmp_path):
    for name, item in items_of_12_bits(tmp_path).items():
        values = GREY_12[..., None] if "grey" in name else COLOUR_12
        expected = np.broadcast_to(np.rint(values * 255.0 / 4095), (48, 48, 3))
        out = pixels_of(item, depth=BitDepth(12))
        assert (out == expected).all(), name
        dark = pixels_of(item)
        assert dark.max() <= 16, name
        with pytest.raises(ImageReadError, match="bit_depth=10 allows 0..1023; pass"):
            pixels_of(item, depth=BitDepth(10))


def test_an_embedder_passes_its_bit_depth_on(tmp_path):
    eight = np.rint(COLOUR_12 * 255.0 / 4095).astype(np.uint8)
    embedder = CLIPImageEmbedder("tiny", bit_depth=12)
    np.testing.assert_array_equal(
        embedder.transform([COLOUR_12]), embedder.transform([eight])
    )
    detector = RandomWordCLIPDetector(N_p=50, random_state=0, embedder=embedder).fit()
    np.testing.assert_array_equal(
        detector.anomaly_map([COLOUR_12]), detector.anomaly_map([eight])
    )


@pytest.mark.parametrize("bad", [7, 17, 12.0, "12"])
def test_other_bit_depths_are_refused(bad):
    with pytest.raises(ValueError, match="'bit_depth'.*in the range"):
        CLIPImageEmbedder("tiny", bit_depth=bad).transform([GREY_12])


def test_what_is_kept_is_kept_for_its_bit_depth(tmp_path):
    by_depth = [
        CLIPImageEmbedder("tiny", bit_depth=bits, memory=tmp_path).transform([GREY_12])
        for bits in (16, 12, 16)
    ]
    np.testing.assert_array_equal(by_depth[0], by_depth[2])
    assert not np.allclose(by_depth[0], by_depth[1])


def test_layouts_without_their_lower_bits_are_refused(tmp_path):
    grey_alpha = np.dstack([GREY_12, GREY_12]).astype(">u2")
    lines = b"".join(b"\0" + row.tobytes() for row in grey_alpha)
    (tmp_path / "a.png").write_bytes(png(48, 48, 16, 4, lines))
    data = tiff(COLOUR_12, planar=True, compressed=True)
    (tmp_path / "b.tif").write_bytes(data)
    for name in ("a.png", "b.tif"):
        pixels_of(tmp_path / name)
        with pytest.raises(ImageReadError, match="array of dtype uint16"):
            pixels_of(tmp_path / name, depth=BitDepth(12))


# -- the warning -------------------------------------------------------------------

DARK, BRIGHT = GREY_12, GREY_12 * np.uint16(16)


def said_by(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in caught if "bit_depth" in str(one.message)]


@pytest.mark.parametrize("name", ["transform", "predict_proba", "fit", "anomaly_map"])
def test_dark_16_bit_images_are_warned_of_once_a_call(name):
    embedder = CLIPImageEmbedder("tiny")
    detector = RandomWordCLIPDetector(
        N_p=50, n_shots=1, random_state=0, embedder=embedder
    )
    if name in ("predict_proba", "anomaly_map"):
        detector.fit([BRIGHT])
    method = getattr(embedder if name == "transform" else detector, name)
    (said,) = said_by(lambda: method([DARK, DARK]))
    assert "the brightest value of" in said and "is 2303" in said
    assert "have 12 bits" in said and "set bit_depth=12" in said


def test_files_of_every_kind_are_warned_of(tmp_path):
    embedder = CLIPImageEmbedder("tiny")
    for name, item in items_of_12_bits(tmp_path).items():
        assert len(said_by(lambda item=item: embedder.transform([item]))) == 1, name
    (tmp_path / "8.png").write_bytes(png_16(COLOUR_12 // 16))
    (said,) = said_by(lambda: embedder.transform([tmp_path / "8.png"]))
    assert "bit_depth=8" in said


QUIET = {
    "one is bright": [DARK, BRIGHT],
    "8 bits": [np.full((8, 8), 9, np.uint8), Image.new("L", (8, 8), 9)],
    "black": [np.zeros((8, 8), np.uint16)],
    "alpha": [np.dstack([BRIGHT] * 3 + [np.full_like(BRIGHT, 65535)])],
}


@pytest.mark.parametrize("kind", QUIET)
def test_no_warning_where_nothing_is_wrong(kind):
    assert said_by(lambda: CLIPImageEmbedder("tiny").transform(QUIET[kind])) == []


@pytest.mark.parametrize("bits", [12, 16])
def test_who_names_the_bit_depth_is_not_warned(bits):
    embedder = CLIPImageEmbedder("tiny", bit_depth=bits)
    assert said_by(lambda: embedder.transform([DARK])) == []


def test_opaque_alpha_does_not_hide_that_colours_are_dark():
    item = np.dstack([COLOUR_12, np.full_like(GREY_12, 65535)])
    assert len(said_by(lambda: CLIPImageEmbedder("tiny").transform([item]))) == 1


# -- many images -------------------------------------------------------------------


def test_blocks_of_rows_warn_once_and_say_what_is_wrong(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    for path in paths:
        Image.fromarray(DARK).save(path)
    embedder = CLIPImageEmbedder("tiny")
    detector = RandomWordCLIPDetector(N_p=50, random_state=0, embedder=embedder).fit()
    copy = detector_of_rows(detector)
    assert len(said_by(lambda: [score_rows(copy, [path]) for path in paths])) == 1
    (row,) = score_rows(copy.set_params(embedder__bit_depth=8), paths[:1])
    assert "bit_depth=8 allows 0..255" in row["error"]


def test_the_command_line_takes_a_bit_depth(tmp_path):
    eight = np.rint(COLOUR_12 * 255.0 / 4095).astype(np.uint8)
    (tmp_path / "12.png").write_bytes(png_16(COLOUR_12))
    Image.fromarray(eight).save(tmp_path / "8.png")
    settings = ["--model", "tiny", "--n-pairs", "50", "--bit-depth", "12"]
    table = tmp_path / "scores.csv"
    paths = [str(tmp_path / name) for name in ("8.png", "12.png")]
    assert main(["score", *paths, "-o", str(table), *settings]) == 0
    scores = pd.read_csv(table).score
    assert scores[0] == pytest.approx(scores[1], abs=1e-12)  # rows of one batch
