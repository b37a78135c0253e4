"""Writers: painted or loaded images onto disk, laid out as MVTec-AD or VisA."""

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from skclipad.datasets._pictures import GOOD
from skclipad.datasets._visa import COLUMNS, KINDS_COLUMNS, KINDS_TABLE, TABLE


class _Entry(NamedTuple):
    """One image to be written: an array or the file to copy, and where it belongs."""

    image: np.ndarray | str
    mask: np.ndarray | str | None
    category: str
    defect: str
    split: str


def write_mvtec_layout(bunch, root, *, n_train=0):
    """Write images in the layout of MVTec-AD.

    Arrays become PNG files, ``CATEGORY/test/KIND/000.png`` and their masks
    ``CATEGORY/ground_truth/KIND/000_mask.png``; files are copied as they are.

    Parameters
    ----------
    bunch : :class:`~sklearn.utils.Bunch`
        What `make_defect_images` or a loader returned: ``target``, ``category``,
        ``defect`` and either ``images`` and ``masks`` or ``paths`` and ``mask_paths``.
        Where it has a ``split``, that is kept.
    root : str or path-like
        A new or empty folder.
    n_train : int, default=0
        How many normal images of each category, its first ones, become training
        images. The paper's few-shot tables need up to 4.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    FileExistsError
        If `root` holds anything already.
    ValueError
        If a category has no normal image left to test with, an anomalous image
        belongs to the training split or is called "good", or a name makes no folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclipad.datasets import make_defect_images, write_mvtec_layout
    >>> photos = make_defect_images(3, categories=["coin"], random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     root = write_mvtec_layout(photos, f"{folder}/painted")
    ...     for path in sorted(root.rglob("*.png")):
    ...         print(path.relative_to(root).as_posix())
    coin/ground_truth/contamination/000_mask.png
    coin/ground_truth/hole/000_mask.png
    coin/test/contamination/000.png
    coin/test/good/000.png
    coin/test/hole/000.png
    """
    entries, root = _entries(bunch, n_train), _new_folder(root)
    numbers = Counter()
    for entry in entries:
        folder = root / entry.category / entry.split / entry.defect
        number = f"{numbers[folder]:03d}"
        numbers[folder] += 1
        _save(entry.image, folder / number)
        if entry.mask is not None:
            masks = root / entry.category / "ground_truth" / entry.defect
            _save(entry.mask, masks / f"{number}_mask")
    return root


def write_visa_layout(bunch, root, *, n_train=0):
    """Write images in the original layout of VisA.

    Arrays become PNG files, ``CATEGORY/Data/Images/Normal/0000.png`` or
    ``.../Anomaly/000.png`` and their masks ``CATEGORY/Data/Masks/Anomaly/000.png``;
    files are copied as they are. ``split_csv/1cls.csv`` tells their labels and splits,
    ``CATEGORY/image_anno.csv`` their kinds of defect.

    Parameters
    ----------
    bunch : :class:`~sklearn.utils.Bunch`
        What `make_defect_images` or a loader returned: ``target``, ``category``,
        ``defect`` and either ``images`` and ``masks`` or ``paths`` and ``mask_paths``.
        Where it has a ``split``, that is kept.
    root : str or path-like
        A new or empty folder.
    n_train : int, default=0
        How many normal images of each category, its first ones, become training
        images. The paper's few-shot tables need up to 4.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    FileExistsError
        If `root` holds anything already.
    ValueError
        If a category has no normal image left to test with, an anomalous image
        belongs to the training split or is called "good", or a name makes no folder.

    Examples
    --------
    >>> import tempfile
    >>> from skclipad.datasets import make_defect_images, write_visa_layout
    >>> photos = make_defect_images(2, categories=["wood"], random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     root = write_visa_layout(photos, f"{folder}/painted")
    ...     print((root / "split_csv" / "1cls.csv").read_text())
    object,split,label,image,mask
    wood,test,...
    """
    entries, root = _entries(bunch, n_train), _new_folder(root)
    numbers, rows, kinds = Counter(), [], {}
    for entry in entries:
        normal = entry.defect == GOOD
        folder, width = ("Normal", 4) if normal else ("Anomaly", 3)
        data = root / entry.category / "Data"
        number = f"{numbers[entry.category, folder]:0{width}d}"
        numbers[entry.category, folder] += 1

        image = _save(entry.image, data / "Images" / folder / number)
        files = [image.relative_to(root).as_posix(), ""]
        if entry.mask is not None:
            mask = _save(entry.mask, data / "Masks" / folder / number)
            files[1] = mask.relative_to(root).as_posix()

        label = "normal" if normal else "anomaly"
        rows.append((entry.category, entry.split, label, *files))
        kind = "normal" if normal else entry.defect
        kinds.setdefault(entry.category, []).append((files[0], kind, files[1]))

    _write_table(root.joinpath(*TABLE), COLUMNS, rows)
    for category, lines in kinds.items():
        _write_table(root / category / KINDS_TABLE, KINDS_COLUMNS, lines)
    return root


def _entries(bunch, n_train):
    """Return what to write, as a list of `_Entry`, or raise before anything is."""
    if "images" in bunch:
        images, masks = bunch["images"], bunch.get("masks")
    else:
        images, masks = bunch["paths"], bunch.get("mask_paths")

    entries, n_normal = [], Counter()
    for i, (target, category, defect) in enumerate(
        zip(bunch["target"], bunch["category"], bunch["defect"], strict=True)
    ):
        kind = _folder_name(defect) if target else GOOD
        split = "test"
        if "split" in bunch and str(bunch["split"][i]).lower() == "train":
            split = "train"
        category = _folder_name(category)

        if not target and split == "test":
            n_normal[category] += 1
            split = "train" if n_normal[category] <= n_train else "test"
        if target and (kind == GOOD or split == "train"):
            raise ValueError(
                f"Got an anomalous image, number {i}, with defect={defect!r} of the "
                f"{split} split but expected another name than 'good' and the test "
                "split: training images are normal. Leave it out or rename it."
            )
        mask = masks[i] if target and masks is not None else None
        entries.append(_Entry(images[i], mask, category, kind, split))

    short = [name for name, n in n_normal.items() if n_train and n <= n_train]
    if short:
        raise ValueError(
            f"Got n_train={n_train} but {short[0]} has {n_normal[short[0]]} normal "
            "images, and one at least is needed to test with. Pass a smaller n_train."
        )
    return entries


def _folder_name(name):
    """Return a category's or defect's name as one of a folder, without spaces."""
    folder = str(name).strip().replace(" ", "_")
    if not folder or folder.startswith(".") or set(folder) & set('/\\:*?"<>|'):
        raise ValueError(
            f"Got the name {name!r} of a category or defect but expected one that can "
            "name a folder: not empty, no leading dot and none of "
            '/ \\ : * ? " < > |'
        )
    return folder


def _new_folder(root):
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"Got root={str(root)!r}, which holds something already, but expected a "
            "new or empty folder: images of two data sets would be mixed."
        )
    root.mkdir(parents=True, exist_ok=True)
    return root


def _save(image, stem):
    """Write an array as a PNG file, or copy a file; return the path."""
    suffix = Path(image).suffix if isinstance(image, str) else ".png"
    path = stem.with_name(stem.name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)

    if isinstance(image, str):
        shutil.copyfile(image, path)
        return path
    array = np.asarray(image)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    Image.fromarray(array).save(path)
    return path


def _write_table(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
