"""The layout of MVTec-AD, which many data sets share.

::

    CATEGORY/train/good/*          normal images to train with
    CATEGORY/test/good/*           normal images
    CATEGORY/test/KIND/*           images with that kind of defect
    CATEGORY/ground_truth/KIND/*   their masks, named NAME_mask.png or NAME.png
"""

from pathlib import Path

from skclipad._images.endings import image_endings
from skclipad.datasets._pictures import (
    GOOD,
    ImageRecord,
    choose_categories,
    not_found,
)

SPLITS = ("test", "train", "all")


def sub_folders(folder):
    """Return the folders in a folder, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    return sorted(f for f in _visible(folder) if f.is_dir())


def image_files(folder):
    """Return the images that lie directly in a folder, sorted."""
    if not folder.is_dir():
        return []
    endings = image_endings()
    return sorted(f for f in _visible(folder) if f.suffix.lower() in endings)


def _visible(folder):
    return (entry for entry in folder.iterdir() if not entry.name.startswith("."))


def is_category(folder):
    """Return whether a folder looks like a category's."""
    return (folder / "test").is_dir() or (folder / "train").is_dir()


def read_layout(root, data_set, category, split):
    """Return (images, missing) of a data set in this layout, its masks expected."""
    # An official name counts even where the folder is empty: that is half-unpacked.
    found = {
        folder.name: folder
        for folder in sub_folders(root)
        if is_category(folder) or folder.name in data_set.categories
    }
    if not found:
        raise not_found(data_set, root)

    names = choose_categories(found, category, data_set, root)
    return read_categories({name: found[name] for name in names}, split)


def read_categories(folders, split, *, good=GOOD, masks_expected=True):
    """Return (images, missing) of categories, whose folders are given by name.

    `good` is the folder of normal images; `masks_expected` says whether an image with
    a defect and without a mask counts as incomplete.
    """
    images, missing = [], []
    for name, folder in folders.items():
        here, absent = _read_category(folder, name, split, good, masks_expected)
        images += here
        missing += absent
    return images, missing


def _read_category(folder, name, split, good, masks_expected):
    images, missing = [], []
    if split in ("test", "all"):
        for kind in sub_folders(folder / "test"):
            images += read_kind(kind, name, "test", good=good)
        images = [_with_mask(image, folder) for image in images]
    if masks_expected:
        missing += _missing_masks(images, folder)

    if split in ("train", "all"):
        images += read_kind(folder / "train" / good, name, "train", good=good)
    if not images:
        missing.append(str(folder / ("test" if split == "all" else split)))
    return images, missing


def _missing_masks(images, folder):
    """Return the masks that are not there; of a folder that is not, the folder."""
    missing = {}  # a dict for its order
    for image in images:
        if image.defect != GOOD and image.mask is None:
            masks = folder / "ground_truth" / image.defect
            mask = masks / f"{Path(image.path).stem}_mask.png"
            missing[str(mask if masks.is_dir() else masks)] = True
    return list(missing)


def read_kind(folder, category, split, *, good):
    """Return the images of one kind, which their folder's name tells."""
    kind = GOOD if folder.name == good else folder.name
    files = map(str, image_files(folder))
    return [ImageRecord(file, category, kind, None, split) for file in files]


def _with_mask(image, folder):
    """Return the image with its mask, if there is one."""
    if image.defect == GOOD:
        return image
    stem = Path(image.path).stem
    for name in (f"{stem}_mask.png", f"{stem}.png"):
        mask = folder / "ground_truth" / image.defect / name
        if mask.is_file():
            return image._replace(mask=str(mask))
    return image
