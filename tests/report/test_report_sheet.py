"""The contact sheet: which pictures are on it, where, and how they are marked."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from skclipad import ImageReadError
from skclipad.report import contact_sheet

ORANGE, BLUE = ImageColor.getrgb("#d55e00"), ImageColor.getrgb("#0072b2")


def flat(*colors, size=(32, 32)):
    """Return pictures of one colour each."""
    return [Image.new("RGB", size, color) for color in colors]


def order_of(sheet, colors):
    """Return the colours in reading order of the places where they stand."""
    pixels = np.asarray(sheet)
    places = {}
    for color in colors:
        rows, columns = np.nonzero((pixels == color).all(axis=-1))
        if len(rows):
            places[color] = (rows.min() // 20, columns.min())
    return sorted(places, key=places.get)


def count(sheet, color):
    return int((np.asarray(sheet) == color).all(axis=-1).sum())


def test_highest_scores_come_first_and_then_the_lowest():
    colors = [(i * 20, 200 - i * 20, 77) for i in range(8)]
    scores = [0.3, 0.9, 0.1, 0.5, 0.8, 0.2, 0.6, 0.4]
    sheet = contact_sheet(flat(*colors), scores, n_images=6, n_columns=3)
    assert order_of(sheet, colors) == [colors[i] for i in (1, 4, 6, 2, 5, 0)]


def test_few_pictures_are_shown_once_each():
    colors = [(10, 20, 200), (10, 200, 20), (200, 20, 10)]
    sheet = contact_sheet(flat(*colors), [0.1, 0.2, 0.3])
    assert order_of(sheet, colors) == [colors[2], colors[1], colors[0]]
    assert count(sheet, colors[0]) == count(sheet, colors[2]) == 96**2


def test_pictures_without_a_score_are_left_out():
    colors = [(10, 20, 200), (10, 200, 20), (200, 20, 10)]
    sheet = contact_sheet(flat(*colors), [0.1, np.nan, 0.3])
    assert order_of(sheet, colors) == [colors[2], colors[0]]


def test_frames_tell_the_labels_and_are_grey_without_any():
    images = flat((9, 9, 9), (9, 9, 9))
    plain = contact_sheet(images, [0.1, 0.9])
    assert count(plain, ORANGE) == count(plain, BLUE) == 0
    both = contact_sheet(images, [0.1, 0.9], labels=[0, 1])
    assert count(both, ORANGE) == count(both, BLUE) > 1000
    one = contact_sheet(images, [0.1, 0.9], labels=[1, 1])
    assert count(one, ORANGE) > 2 * count(one, BLUE)


def test_a_picture_keeps_its_proportions():
    (wide,) = flat((9, 99, 199), size=(400, 100))
    pixels = np.asarray(contact_sheet([wide], [0.5]))
    rows, columns = np.nonzero((pixels == (9, 99, 199)).all(axis=-1))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (104, 26)


def test_small_pictures_grow_by_whole_pixels():
    checks = np.indices((8, 8)).sum(axis=0) % 2 * 255
    sheet = contact_sheet([checks.astype(np.uint8)], [0.5], tile_size=40)
    # (40 - 2 * 4) // 8 = 4: every pixel becomes 4 x 4, black and white and no grey.
    assert count(sheet, (0, 0, 0)) == 32 * 16


def test_title_captions_and_labels_make_room_for_themselves():
    images, scores = flat("red", "blue"), [0.1, 0.9]
    heights = [
        contact_sheet(images, scores, **more).height
        for more in (
            {},
            {"captions": ["a", "b"]},
            {"captions": ["a", "b"], "labels": [0, 1]},
            {"captions": ["a", "b"], "labels": [0, 1], "title": "title"},
            {"captions": ["a", "b"], "labels": [0, 1], "title": "title\nmore"},
        )
    ]
    assert heights == sorted(set(heights))


@pytest.mark.parametrize(
    "caption",
    ["x" * 5000, "two\nlines", "tab\there", "", "\udce9", "<img onerror=...>", "日本"],
)
def test_any_caption_fits(caption):
    images, scores = flat("red", "blue"), [0.1, 0.9]
    sheet = contact_sheet(images, scores, captions=[caption, "b"])
    assert sheet.size == contact_sheet(images, scores, captions=["a", "b"]).size


def test_paths_arrays_and_series_are_taken(tmp_path):
    pandas = pytest.importorskip("pandas")
    image = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, pixels in zip(paths, image, strict=True):
        Image.fromarray(pixels).save(path)
    expected = contact_sheet(image, [0.1, 0.9])
    series = pandas.Series(paths, index=[7, 3])
    for images in (paths, list(map(Image.open, paths)), series):
        sheet = contact_sheet(images, [0.1, 0.9])
        np.testing.assert_array_equal(np.asarray(sheet), np.asarray(expected))


def test_only_pictures_shown_are_opened(tmp_path):
    images = [*flat("red", "blue"), tmp_path / "missing.png"]
    sheet = contact_sheet(images, [0.1, 0.9, 0.5], n_images=2)
    assert count(sheet, (255, 0, 0)) and count(sheet, (0, 0, 255))
    with pytest.raises(ImageReadError, match=r"Image 2 .*missing\.png"):
        contact_sheet(images, [0.1, 0.9, 0.5], n_images=3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"scores": [0.1]}, "Got 2 images and 1 scores"),
        ({"labels": [0, 1, 1]}, "Got 2 images and 3 labels"),
        ({"captions": ["a"]}, "Got 2 images and 1 captions"),
        ({"scores": [np.nan, np.nan]}, "none of them a number"),
        ({"n_images": 0}, "Got n_images=0"),
        ({"n_columns": 0}, "Got n_columns=0"),
        ({"tile_size": 15}, "Got tile_size=15 but expected at least 16"),
    ],
)
def test_what_makes_no_sheet_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(flat("red", "blue"), **{"scores": [0.1, 0.9], **arguments})
