"""``skclipad score --boxes``: COCO, the column, the report, and the level."""

import json

import numpy as np
import pytest
from PIL import Image
from tables import page_data, read_table

from skclipad import RandomWordCLIPDetector, cli
from skclipad.boxes import find_boxes


@pytest.fixture
def made_maps():
    """The pictures whose maps were made, one after the other."""
    return []


@pytest.fixture
def photos(tmp_path, monkeypatch, made_maps):
    """Four pictures, each lighter than the one before, of 64 x 48 pixels.

    Their maps have a spot in the left upper quarter, as high as they are light.
    """
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        Image.new("L", (64, 48), 50 * (i + 1)).save(folder / f"{i}.png")

    def maps(self, X, size=None):
        made = []
        for item in X:
            with Image.open(item) as image:
                light = image.getpixel((0, 0)) / 255
                shape = image.size[::-1] if size is None else (size, size)
            one = np.full(shape, 0.1, np.float32)
            one[: shape[0] // 2, : shape[1] // 2] = light
            made.append(one)
        made_maps.extend(X)
        return made

    monkeypatch.setattr(RandomWordCLIPDetector, "anomaly_map", maps)
    return folder


@pytest.fixture
def score(photos, detector_file, tmp_path, capsys):
    """A function that scores the pictures with boxes, and returns what came of it."""

    def run(*options, code=0):
        table, coco = tmp_path / "scores.csv", tmp_path / "boxes.json"
        arguments = ["score", str(photos), "-d", detector_file, "-o", str(table)]
        assert cli.main([*arguments, "--boxes", str(coco), *options]) == code
        return (
            read_table(table),
            json.loads(coco.read_text("utf-8")),
            capsys.readouterr().err,
        )

    return run


def test_boxes_are_in_a_file_and_the_largest_in_a_column(score, photos):
    (photos / "bad.png").write_bytes(b"")
    rows, coco, said = score("--box-level", "0.5", code=3)
    boxes = {row["path"].rpartition("/")[2]: row["box"] for row in rows}
    spot = "0,0,32,24"
    assert boxes == {
        "0.png": "", "1.png": "", "2.png": spot, "3.png": spot, "bad.png": ""
    }  # fmt: skip
    assert [row["score"] != "" for row in rows] == [True] * 4 + [False]
    assert [image["file_name"] for image in coco["images"]] == [
        str(photos / f"{i}.png") for i in range(4)
    ]
    assert (coco["images"][0]["width"], coco["images"][0]["height"]) == (64, 48)
    assert [a["bbox"] for a in coco["annotations"]] == [[0, 0, 32, 24]] * 2
    assert [a["score"] for a in coco["annotations"]] == pytest.approx(
        [150 / 255, 200 / 255], abs=1e-4
    )
    assert "2 boxes in 2 of 4 pictures" in said


@pytest.mark.parametrize("share, n_boxes", [(0.07, 1), (0.2, 3), (0.24, 3)])
def test_the_level_is_chosen_by_a_share_of_the_area(score, share, n_boxes):
    # Each spot is a sixteenth of the area of the four pictures.
    _, coco, said = score("--box-area", str(share))
    assert len(coco["annotations"]) == n_boxes
    assert f"boxes where maps are above {coco['info']['level']!r}" in said


@pytest.mark.parametrize(
    "more, n_boxes, reason",
    [
        ([], 1, "none of the pictures in"),
        (["--fpr", "0.4"], 2, "a share of 0.4 of the pictures in"),
    ],
)
def test_the_level_is_chosen_by_good_pictures(score, photos, more, n_boxes, reason):
    good = photos.with_name("good")
    good.mkdir()
    for i in range(2):
        (photos / f"{i}.png").rename(good / f"{i + 1}.png")
        Image.new("L", (64, 48), 160 + 10 * i).save(good / f"{i + 3}.png")
    Image.new("L", (64, 48), 165).save(photos / "0.png")
    _, coco, said = score("--normal-dir", str(good), *more)
    assert len(coco["annotations"]) == n_boxes
    assert reason in said


def test_maps_that_are_kept_are_boxed_at_their_own_size(score, tmp_path, made_maps):
    kept = ["--maps", str(tmp_path / "maps"), "--box-level", "0.5"]
    rows, coco, _ = score(*kept)
    assert [row["box"] for row in rows] == ["", "", "0,0,32,24", "0,0,32,24"]
    with Image.open(tmp_path / "maps" / "3.png.png") as image:
        boxes = find_boxes(np.asarray(image) / 65535, 0.5)
    assert coco["annotations"][1]["bbox"] == list(boxes[0][:4])
    assert len(made_maps) == 4  # those that are kept are not made again


def test_the_report_shows_boxes_and_their_level(score, tmp_path):
    page = tmp_path / "report.html"
    score("--box-level", "0.5", "--report", str(page))
    data = page_data(page)
    by_name = dict(zip(data["names"], data["boxes"], strict=True))
    found = {name[-5:]: boxes for name, boxes in by_name.items()}
    spot = [[0, 0, 0.5, 0.5]]
    assert found == {"0.png": [], "1.png": [], "2.png": spot, "3.png": spot}
    assert (
        "<th scope=row>boxes where maps are above</th><td>0.5</td>"
        in page.read_text("utf-8")
    )


def test_all_kinds_of_tables_get_the_column(score, photos, detector_file, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table, coco = tmp_path / "s.parquet", tmp_path / "b.json"
    arguments = ["score", str(photos), "-d", detector_file, "-o", str(table)]
    arguments += ["--boxes", str(coco), "--box-level", "0.7"]
    assert cli.main(arguments) == 0
    column = parquet.read_table(table).column("box").to_pylist()
    assert column == ["", "", "", "0,0,32,24"]


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--boxes", "b.json"], "--boxes needs --output FILE"),
        (["--box-area", "0.1"], "need --boxes FILE"),
        (["--box-level", "0.1"], "need --boxes FILE"),
        (["--boxes", "b.txt", "-o", "s.csv"], "a name that ends in .json."),
        (["--box-level", "0.1", "--box-area", "0.2"], "not allowed with"),
        (["--box-level", "3"], "does not lie between 0 and 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments, reason, photos, detector_file, capsys
):
    assert cli.main(["score", str(photos), "-d", detector_file, *arguments]) == 1
    assert reason in capsys.readouterr().err
