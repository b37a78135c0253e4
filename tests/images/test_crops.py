"""Crops cover their picture, and become what the model's own transform would make."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from open_clip.transform import CenterCropOrPad, ResizeKeepRatio
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from skclipad._images.crops import (
    MAX_ALONG,
    crop_boxes,
    resize_image,
)

SIZES = [(100, 100), (37, 91), (640, 480), (31, 240), (300, 299), (5, 7)]


def picture(width, height, smooth=False):
    rng = np.random.default_rng(width * height)
    if smooth:
        rough = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        return rough.resize((width, height), Image.Resampling.BICUBIC)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


# -- boxes -----------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(["tiles", "multi"]))
@example(1, 1, "multi")
@example(2, 1, "tiles")
@example(1, 30_000, "tiles")
@example(30_000, 1, "multi")
@example(100, 101, "multi")
@example(100, 101, "tiles")
def test_crops_lie_inside_the_picture_and_cover_it(width, height, crops):
    boxes = crop_boxes(width, height, crops)
    assert len(set(boxes)) == len(boxes)
    parts = boxes[1:] if crops == "multi" and len(boxes) > 1 else boxes
    for low, high, length in ((0, 2, width), (1, 3, height)):
        spans = sorted({(box[low], box[high]) for box in parts})
        assert all(type(side) is int for span in spans for side in span)
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        assert all(start < end for start, end in spans)
        assert all(b[0] <= a[1] for a, b in zip(spans, spans[1:], strict=False))
        assert len(spans) <= MAX_ALONG
        assert len({end - start for start, end in spans}) == 1
    # The parts are a full grid, so covered sides are a covered picture.
    columns = {(box[0], box[2]) for box in parts}
    rows = {(box[1], box[3]) for box in parts}
    assert len(parts) == len(columns) * len(rows)


def test_whole_is_one_box():
    assert crop_boxes(7, 5) == crop_boxes(7, 5, "whole") == [(0, 0, 7, 5)]


def test_tiles_are_squares_of_the_short_side_in_either_direction():
    wide = crop_boxes(250, 100, "tiles")
    assert wide == [(0, 0, 100, 100), (80, 0, 180, 100), (150, 0, 250, 100)]
    tall = crop_boxes(100, 250, "tiles")
    assert tall == [(top, left, bottom, right) for left, top, right, bottom in wide]


def test_tiles_of_a_square_picture_are_the_picture():
    assert crop_boxes(64, 64, "tiles") == [(0, 0, 64, 64)]


def test_multi_is_the_whole_and_four_overlapping_crops_of_a_square():
    whole, *crops = crop_boxes(200, 200, "multi")
    assert whole == (0, 0, 200, 200)
    assert crops == [
        (0, 0, 170, 170),
        (30, 0, 200, 170),
        (0, 30, 170, 200),
        (30, 30, 200, 200),
    ]


@pytest.mark.parametrize("shape", [(400, 300), (300, 400), (800, 200), (101, 100)])
def test_multi_crops_of_oblong_pictures_are_squares_that_overlap_by_a_third(shape):
    side = math.ceil(0.85 * min(shape))
    crops = crop_boxes(*shape, "multi")[1:]
    assert {(box[2] - box[0], box[3] - box[1]) for box in crops} == {(side, side)}
    for low in (0, 1):
        starts = sorted({box[low] for box in crops})
        gaps = np.diff(starts)
        assert gaps.max() - gaps.min() <= 1
        assert gaps.max() <= 2 / 3 * side + 1
        # No more crops than that takes, but for the two that there are at least.
        assert len(starts) == 2 or shape[low] - side > (len(starts) - 2) * 2 / 3 * side


def test_a_callable_gives_its_own_boxes():
    def halves(width, height):
        return np.array([[0, 0, width / 2, height], [width / 2, 0, width, height]])

    assert crop_boxes(9, 4, halves) == [(0, 0, 4.5, 4), (4.5, 0, 9, 4)]


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        None,
        7,
        [(0, 0, 5)],
        [(0, 0, 0, 4)],
        [(0, 3, 5, 3)],
        [(5, 0, 2, 4)],
        [(-1, 0, 5, 4)],
        [(0, 0, 10, 4)],
        [(0, 0, 9, 4.5)],
        [(0, 0, float("nan"), 4)],
        [(0, 0, float("inf"), 4)],
        ["box"],
        (0, 0, 9, 4),
    ],
    ids=str,
)
def test_a_callable_that_gives_no_boxes_is_told_what_they_are(boxes):
    with pytest.raises(ValueError, match=r"(?s)^Got .*9 wide and 4 high.*<= 9 .*<= 4"):
        crop_boxes(9, 4, lambda width, height: boxes)


@pytest.mark.parametrize("crops", ["grid", None, 5, ["whole"]])
def test_unknown_crops_are_told_which_there_are(crops):
    with pytest.raises(ValueError, match="'whole', 'tiles', 'multi' or a callable"):
        crop_boxes(9, 4, crops)


# -- resizing --------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [32, 224])
def test_squash_equals_torchvisions_resize(shape, size):
    image = picture(*shape)
    expected = Resize((size, size), InterpolationMode.BICUBIC)(image)
    out = resize_image(image, (0, 0, *shape), size)
    assert out.dtype == np.uint8
    assert out.flags.writeable
    assert (out == np.asarray(expected)).all()


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [64, (48, 96)])
def test_shortest_agrees_with_open_clips_transform(shape, size):
    # One operation instead of two: rounding differs by a level or two on pictures
    # without noise (Pillow chooses another order of its two passes).
    image = picture(*shape, smooth=True)
    if isinstance(size, int):
        theirs = Compose([Resize(size, InterpolationMode.BICUBIC), CenterCrop(size)])
    else:
        theirs = Compose([ResizeKeepRatio(size), CenterCrop(size)])
    out = resize_image(image, (0, 0, *shape), size, "shortest")
    assert np.abs(out.astype(int) - np.asarray(theirs(image))).max() <= 2


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [64, (48, 96)])
@pytest.mark.parametrize("fill", [0, 124, (1, 2, 3)])
def test_longest_equals_open_clips_transform(shape, size, fill):
    image = picture(*shape)
    theirs = Compose(
        [ResizeKeepRatio(size, longest=1), CenterCropOrPad(size, fill=fill)]
    )
    out = resize_image(image, (0, 0, *shape), size, "longest", fill=fill)
    assert (out == np.asarray(theirs(image))).all()


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
def test_a_box_is_resized_as_the_picture_that_it_cuts_out(mode):
    # Flat around the border of the box, where the filter may look outside.
    pixels = np.full((60, 80, 3), 90, np.uint8)
    pixels[25:35, 30:50] = picture(20, 10, smooth=True)
    image = Image.fromarray(pixels)
    box = (20, 15, 60, 45)
    out = resize_image(image, box, 24, mode)
    alone = image.crop(box)
    assert (out == resize_image(alone, (0, 0, 40, 30), 24, mode)).all()


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30_000), (30_000, 1), (3, 2)])
def test_degenerate_pictures_are_resized_too(mode, shape):
    image = Image.new("RGB", shape, (9, 99, 199))
    out = resize_image(image, (0, 0, *shape), (16, 24), mode, fill=(9, 99, 199))
    assert out.shape == (16, 24, 3)
    assert (out == (9, 99, 199)).all()


def test_interpolation_is_pillows_filter_of_that_name():
    image = picture(50, 40)
    for name in ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"):
        out = resize_image(image, (0, 0, 50, 40), 20, "squash", name)
        expected = image.resize((20, 20), Image.Resampling[name.upper()])
        assert (out == np.asarray(expected)).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resize_mode": "stretch"}, "resize_mode='stretch'.*'squash', 'shortest'"),
        ({"interpolation": "cubic"}, "interpolation='cubic'.*'bicubic'"),
    ],
)
def test_unknown_ways_of_resizing_are_told_which_there_are(options, words):
    with pytest.raises(ValueError, match=words):
        resize_image(picture(8, 8), (0, 0, 8, 8), 4, **options)
