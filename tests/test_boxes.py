"""Boxes of anomaly maps, and COCO files that its own reader takes."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from skclipad._images.reading import image_size
from skclipad.boxes import (
    Box,
    area_level,
    coco_dataset,
    find_boxes,
    normal_level,
)


def areas(*rows):
    return np.array([[int(letter) / 10 for letter in row] for row in rows])


MAP = areas("00000090", "07700000", "07000000", "00008000", "00080000")


def test_connected_areas_are_boxed_the_largest_first():
    assert find_boxes(MAP, 0.5) == [
        Box(1, 1, 2, 2, 3, 0.7),
        Box(3, 3, 2, 2, 2, 0.8),  # they meet at a corner
        Box(6, 0, 1, 1, 1, 0.9),
    ]
    assert [box.score for box in find_boxes(MAP, 0.7)] == [0.8, 0.9]
    assert find_boxes(MAP, 0.9) == []


def test_an_area_in_the_box_of_another_has_its_own_value():
    ring = areas("66666", "60006", "60906", "60006", "66666")
    assert find_boxes(ring, 0.5) == [Box(0, 0, 5, 5, 16, 0.6), Box(2, 2, 1, 1, 1, 0.9)]


@pytest.mark.parametrize("width, height", [(16, 15), (800, 50), (3, 2), (8, 5), (5, 7)])
def test_boxes_hold_their_area_in_pixels_of_the_image(width, height):
    for box in find_boxes(MAP, 0.5, image_size=(width, height)):
        assert 0 <= box.x < box.x + box.width <= width
        assert 0 <= box.y < box.y + box.height <= height
        assert 1 <= box.area <= box.width * box.height
    (box,) = find_boxes(MAP * (MAP == 0.7), 0.5, image_size=(width, height))
    assert box.x <= width / 8 and box.x + box.width >= 3 * width / 8
    assert box.y <= height / 5 and box.y + box.height >= 3 * height / 5


def test_nan_is_not_boxed():
    assert find_boxes(np.full((3, 3), np.nan), 0.5) == []
    with pytest.raises(ValueError, match=r"a map of shape \(3,\)"):
        find_boxes(np.zeros(3), 0.5)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.9])
def test_no_more_than_the_share_of_the_area_is_above_the_level(share):
    maps = [np.random.default_rng(i).random((20, 30)) ** 2 for i in range(10)]
    level = area_level(iter(maps), share)
    above = np.mean([one > level for one in maps])
    assert share - 0.005 < above <= share


def test_every_map_counts_alike_and_nan_does_not():
    # All of the small map is above the level, and none of the large one.
    maps = [np.full((2, 2), 0.8), np.full((50, 50), 0.3), np.full((9, 9), np.nan)]
    assert 0.3 <= area_level(maps, 0.5) < 0.8
    assert area_level(maps, 0.49) == pytest.approx(0.8, abs=1e-4)
    assert area_level([np.full((2, 2), 0.3)], 0.5) >= 0.3


def test_a_level_of_normal_maps_boxes_as_many_of_them_as_was_said():
    maps = [np.random.default_rng(i).random((5, 5)) for i in range(40)]
    level = normal_level(maps)
    assert not any(find_boxes(one, level) for one in maps)
    level = normal_level(iter([*maps, np.full((1, 1), np.nan)]), fpr=0.1)
    assert sum(bool(find_boxes(one, level)) for one in maps) == 3  # 0.1 * 41 - 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: area_level([MAP], 0), "Got share=0 but"),
        (lambda: area_level([], 0.1), "Got no map with a value"),
        (lambda: area_level([[[np.nan]]], 0.1), "Got no map with a value"),
        (lambda: normal_level([]), "Got no map with a value"),
        (lambda: normal_level([MAP], fpr=0.1), "takes 9 of them at least"),
        (lambda: coco_dataset(["a"], [], [[]]), "Got 1 names, 0 sizes and 1 lists"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def dataset():
    found = find_boxes(MAP, 0.5, image_size=(80, 50))
    names, sizes = ["a.jpg", "b/ö.jpg", "c.jpg"], [(80, 50), (8, 5), (640, 480)]
    return coco_dataset(names, sizes, [found, [], found[:1]], info={"level": 0.5})


def test_a_dataset_has_what_coco_asks_for():
    made = json.loads(json.dumps(dataset()))
    assert made["info"] == {"level": 0.5}
    assert made["categories"] == [{"id": 1, "name": "anomaly", "supercategory": ""}]
    assert made["images"][1] == {
        "id": 2, "file_name": "b/ö.jpg", "width": 8, "height": 5
    }  # fmt: skip
    assert [a["id"] for a in made["annotations"]] == [1, 2, 3, 4]
    assert [a["image_id"] for a in made["annotations"]] == [1, 1, 1, 3]
    assert made["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [10, 10, 20, 20],
        "area": 300,
        "score": 0.7,
        "iscrowd": 0,
        "segmentation": [],
    }


def test_the_reader_of_coco_takes_a_dataset_and_finds_every_box(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    made = dataset()
    (tmp_path / "boxes.json").write_text(json.dumps(made), encoding="utf-8")
    keys = ("image_id", "category_id", "bbox", "score")
    results = [{key: a[key] for key in keys} for a in made["annotations"]]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(tmp_path / "boxes.json"))
        judged = evaluation.COCOeval(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert truth.getImgIds() == [1, 2, 3]
    assert [truth.getAnnIds(imgIds=[i]) for i in (1, 2, 3)] == [[1, 2, 3], [], [4]]
    assert judged.stats[0] == pytest.approx(1)  # AP: the boxes are those of the file


# How large an image is


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_the_size_is_that_of_the_upright_image(kind, orientation, tmp_path):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = tmp_path / "image"
    Image.new("RGB", (30, 20)).save(path, format=kind, exif=exif)
    assert image_size(path) == ((20, 30) if orientation in (6, 8) else (30, 20))


def test_of_a_jpeg_only_the_beginning_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 10])
    assert image_size(tmp_path / "a.jpg") == (400, 300)
    assert image_size(noise) == (400, 300)
