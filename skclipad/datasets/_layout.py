"""The layout of MVTec-AD, which many data sets share.

::

    CATEGORY/train/good/*          normal pictures to train with
    CATEGORY/test/good/*           normal pictures
    CATEGORY/test/KIND/*           pictures with that kind of defect
    CATEGORY/ground_truth/KIND/*   their masks, named NAME_mask.png or NAME.png
"""

from pathlib import Path

from skclipad._images.endings import image_endings
from skclipad.datasets._pictures import (
    GOOD,
    Picture,
    choose_categories,
    not_found,
)

SPLITS = ("test", "train", "all")


def sub_folders(folder):
    """Return the folders in a folder, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(
        e for e in folder.iterdir() if e.is_dir() and not e.name.startswith(".")
    )


def image_files(folder):
    """Return the pictures that lie directly in a folder, sorted."""
    if not folder.is_dir():
        return []
    endings = image_endings()
    return sorted(
        e
        for e in folder.iterdir()
        if e.suffix.lower() in endings and not e.name.startswith(".")
    )


def is_category(folder):
    """Return whether a folder looks like a category's."""
    return (folder / "test").is_dir() or (folder / "train").is_dir()


def read_layout(root, data_set, category, split):
    """Return (pictures, missing) of a data set in this layout, its masks expected."""
    root = Path(root)
    # An official name counts even where the folder is empty: that is half-unpacked.
    found = {
        folder.name: folder
        for folder in sub_folders(root)
        if is_category(folder) or folder.name in data_set.categories
    }
    if not found:
        raise not_found(data_set, root)
    pictures, missing = [], []
    for name in choose_categories(found, category, data_set, root):
        here, absent = read_category(found[name], name, split)
        pictures += here
        missing += absent
    return pictures, missing


def read_category(folder, name, split, *, good=GOOD, masks_expected=True):
    """Return (pictures, missing) of one category.

    Parameters
    ----------
    folder : Path
        The category's folder.
    name : str
        What to call it.
    split : {"test", "train", "all"}
        Which part; "all" takes those that there are.
    good : str
        Name of the folder of normal pictures.
    masks_expected : bool
        Whether a picture with a defect and without a mask counts as incomplete.
    """
    pictures, missing = [], []
    if split in ("test", "all"):
        for kind in sub_folders(folder / "test"):
            pictures += read_kind(kind, name, "test", good=good)
        pictures = [with_mask(picture, folder) for picture in pictures]
    if masks_expected:
        missing += missing_masks(pictures, folder)
    if split in ("train", "all"):
        pictures += read_kind(folder / "train" / good, name, "train", good=good)
    if not pictures:
        missing.append(str(folder / ("test" if split == "all" else split)))
    return pictures, missing


def missing_masks(pictures, folder):
    """Return the masks that are not there; of a folder that is not, the folder."""
    missing = {}  # a dict for its order
    for picture in pictures:
        if picture.defect != GOOD and picture.mask is None:
            masks = folder / "ground_truth" / picture.defect
            mask = masks / f"{Path(picture.path).stem}_mask.png"
            missing[str(mask if masks.is_dir() else masks)] = True
    return list(missing)


def read_kind(folder, category, split, *, good=GOOD):
    """Return the pictures of one kind, which their folder's name tells."""
    kind = GOOD if folder.name == good else folder.name
    return [
        Picture(str(file), category, kind, None, split) for file in image_files(folder)
    ]


def with_mask(picture, folder):
    """Return the picture with its mask, if there is one."""
    if picture.defect == GOOD:
        return picture
    stem = Path(picture.path).stem
    for name in (f"{stem}_mask.png", f"{stem}.png"):
        mask = folder / "ground_truth" / picture.defect / name
        if mask.is_file():
            return picture._replace(mask=str(mask))
    return picture
