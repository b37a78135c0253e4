"""What is written in the layouts of MVTec-AD and VisA is what is read back."""

import numpy as np
import pytest
from PIL import Image
from sklearn.utils import Bunch

from skclipad.datasets import (
    load_mvtec_ad,
    load_visa,
    make_defect_images,
    write_mvtec_layout,
    write_visa_layout,
)

LAYOUTS = pytest.mark.parametrize(
    "write, load",
    [(write_mvtec_layout, load_mvtec_ad), (write_visa_layout, load_visa)],
)
CATEGORIES = ["brushed metal", "coin", "gear"]


@pytest.fixture(scope="module")
def photos():
    return make_defect_images(60, image_size=32, categories=CATEGORIES, random_state=0)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def contents(images, masks, target, category, defect):
    """Return what identifies each picture, in an order that no layout changes."""
    rows = []
    for image, mask, y, *names in zip(
        images, masks, target, category, defect, strict=True
    ):
        shown = mask.tobytes() if y else b""
        rows.append((*map(str, names), int(y), image.tobytes(), shown))
    return sorted(rows)


def written(data):
    """The same of a loader's Bunch."""
    masks = [None if path is None else read(path) > 0 for path in data.mask_paths]
    images = [read(path) for path in data.paths]
    return contents(images, masks, data.target, data.category, data.defect)


def painted(photos):
    underscored = (
        [name.replace(" ", "_") for name in photos[key]]
        for key in ("category", "defect")
    )
    category, defect = underscored
    defect = ["good" if name == "none" else name for name in defect]
    return contents(photos.images, photos.masks, photos.target, category, defect)


@LAYOUTS
def test_painted_pictures_come_back(write, load, photos, tmp_path):
    root = write(photos, tmp_path / "new" / "data")
    assert root == tmp_path / "new" / "data"
    data = load(root)
    assert data.category_names == ["brushed_metal", "coin", "gear"]
    assert written(data) == painted(photos)
    assert set(data.split) == {"test"}
    with pytest.raises(FileNotFoundError):
        load(root, split="train")


@LAYOUTS
def test_first_normal_pictures_become_training_pictures(write, load, photos, tmp_path):
    root = write(photos, tmp_path, n_train=2)
    train, test = load(root, split="train"), load(root)
    assert len(train.paths) == 6 and len(test.paths) == 54
    normal = (photos.target == 0) & (photos.category == "coin")
    found = [read(path) for path in load(root, "coin", split="train").paths]
    np.testing.assert_array_equal(found, photos.images[normal][:2])
    assert written(load(root, split="all")) == painted(photos)


@LAYOUTS
def test_loaded_pictures_are_copied_into_the_other_layout(
    write, load, photos, tmp_path
):
    source = write_mvtec_layout(photos, tmp_path / "one", n_train=1)
    first = load_mvtec_ad(source, split="all")
    second = load(write(first, tmp_path / "two"), split="all")
    assert written(second) == written(first)
    assert sorted(second.split) == sorted(first.split)


@LAYOUTS
def test_files_keep_their_bytes_and_suffix(write, load, tmp_path):
    for name, color in (("a.JPG", 10), ("b.JPG", 200)):
        Image.new("RGB", (16, 16), (color, 0, 0)).save(tmp_path / name, "JPEG")
    paths = [str(tmp_path / name) for name in ("a.JPG", "b.JPG")]
    bunch = Bunch(
        paths=paths, target=[0, 1], category=["cup"] * 2, defect=["good", "crack"]
    )
    data = load(write(bunch, tmp_path / "out"), on_missing="list")
    assert sorted(data.defect) == ["crack", "good"]
    for path, target in zip(data.paths, data.target, strict=True):
        with open(path, "rb") as one, open(paths[target], "rb") as other:
            assert path.endswith(".JPG") and one.read() == other.read()
    assert data.mask_paths.tolist() == [None, None]


@LAYOUTS
def test_folders_with_something_in_them_are_left_alone(write, load, photos, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="holds something already"):
        write(photos, tmp_path)
    with pytest.raises(FileExistsError):
        write(photos, tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@LAYOUTS
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"defect": ["good", "good"]}, "number 1, with defect='good'"),
        ({"split": ["test", "train"]}, "number 1, .* of the train split"),
        ({"category": ["a/b", "a"]}, "name 'a/b'"),
        ({"category": ["", "a"]}, "name ''"),
        ({"defect": ["none", "../up"]}, "name '../up'"),
    ],
)
def test_what_has_no_place_is_refused_before_anything_is_written(
    write, load, changes, message, tmp_path
):
    bunch = Bunch(
        images=np.zeros((2, 16, 16, 3), np.uint8),
        target=[0, 1],
        category=["cup", "cup"],
        defect=["none", "crack"],
    )
    bunch.update(changes)
    with pytest.raises(ValueError, match=message):
        write(bunch, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@LAYOUTS
def test_no_category_is_left_without_normal_pictures_to_test_with(
    write, load, photos, tmp_path
):
    counts = {
        name: int(np.sum((photos.category == name) & (photos.target == 0)))
        for name in CATEGORIES
    }
    fewest = min(counts.values())
    with pytest.raises(
        ValueError, match=f"n_train={fewest} but .* has {fewest} normal"
    ):
        write(photos, tmp_path / "new", n_train=fewest)
    assert not (tmp_path / "new").exists()
