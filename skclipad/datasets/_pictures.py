"""What the loaders share: images found on disk become a Bunch, or a clear error."""

import csv
import os
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from skclipad._exceptions import warn_user

GOOD = "good"  # the kind of defect of a normal image, whatever a data set calls it
ON_MISSING = ("raise", "list")
_SHOWN = 20  # missing files that an error lists by name

_SELECTION = """
=================   ==================================================
Images              {n_images}, of which {n_anomalous} anomalous
Masks               {n_masks}
Categories          {categories}
Split               {split}
=================   ==================================================
"""


class ImageRecord(NamedTuple):
    """One image of a data set, not yet opened."""

    path: str
    category: str  # what it shows
    defect: str  # the kind of defect, `GOOD` for a normal image
    mask: str | None  # the file that marks the damaged pixels
    split: str


class DataSet(NamedTuple):
    """What is known of a data set before its folder is opened."""

    name: str  # also that of its description among the package's data
    title: str  # as people call it
    layout: str  # what its folder holds, for errors
    origin: str = ""  # where to get it, for errors
    categories: tuple = ()  # those of the published data, where it is a fixed list


def check_options(split, splits, on_missing):
    """Raise unless the options that all loaders share have one of their values."""
    options = {"split": (split, splits), "on_missing": (on_missing, ON_MISSING)}
    for name, (value, possible) in options.items():
        if value not in possible:
            raise ValueError(
                f"Got {name}={value!r} but expected {' or '.join(map(repr, possible))}."
            )


def not_found(data_set, root, reason=""):
    """Return the error that says what was looked for, what was found, where to get it.

    A `reason` ends in a space.
    """
    return FileNotFoundError(
        f"Got root={str(root)!r} ({_contents(root)}) but expected "
        f"{data_set.layout}. {reason}{data_set.origin}".rstrip()
    )


def _contents(root):
    if not root.exists():
        return "no such folder"
    if not root.is_dir():
        return "a file"
    names = sorted(e.name + "/" * e.is_dir() for e in root.iterdir())
    return f"which holds {shortened(names, 8)}" if names else "an empty folder"


def shortened(names, n_shown=_SHOWN):
    """Join names with commas; of a long list its beginning and how many follow."""
    more = len(names) - n_shown
    return ", ".join(names[:n_shown]) + (f" and {more} more" if more > 0 else "")


def choose_categories(found, category, data_set, root):
    """Return the sorted categories asked for, each of them among those found."""
    if category is None:
        absent = set(data_set.categories) - set(found)
        if absent and set(found) < set(data_set.categories):
            warn_user(
                f"{root} holds {len(found)} of the {len(data_set.categories)} "
                f"categories of {data_set.title}; {', '.join(sorted(absent))} are not "
                f"there. Pass category={sorted(found)} if that is meant.",
            )
        return sorted(found)

    wanted = [category] if isinstance(category, str) else list(category)
    unknown = [name for name in wanted if name not in found]
    if unknown or not wanted:
        raise ValueError(
            f"Got category={unknown or wanted} but {root} holds "
            f"{', '.join(sorted(found))}. Pass some of these, or None for all."
        )
    return sorted(set(wanted))


def read_table(path, columns):
    """Return the rows of a CSV file as dictionaries, its columns checked."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        absent = [name for name in columns if name not in names]
        if absent:
            raise ValueError(
                f"Got the columns {', '.join(names) or '(none)'} in {path} but "
                f"expected {', '.join(columns)}, separated by commas."
            )
        rows = list(reader)

    for number, row in enumerate(rows, start=2):
        if None in row or any(row[name] is None for name in columns):
            raise ValueError(
                f"Got more or fewer fields in row {number} of {path} than its header "
                "has. Put quotes around fields with commas; or is the file cut short?"
            )
    return rows


def present(images):
    """Split images into those whose files are there and a list of missing files.

    An image without its file is left out; one without its mask stays, its mask None.
    """
    here, missing = [], []
    for image in images:
        if not os.path.isfile(image.path):
            missing.append(image.path)
            continue
        if image.mask is not None and not os.path.isfile(image.mask):
            missing.append(image.mask)
            image = image._replace(mask=None)
        here.append(image)
    return here, missing


def to_bunch(images, missing, data_set, root, split, on_missing, *, descr=None):
    """Return a list of `ImageRecord` as a Bunch, or raise if any or all are missing.

    Without a `descr` it is the description of that name among the package's data.
    """
    if missing and on_missing == "raise":
        raise FileNotFoundError(
            f"{len(missing)} files or folders of {data_set.title} are missing: "
            f"{shortened(missing)}. Bring them back, or pass on_missing='list' "
            "to load the rest and find these in the Bunch's `missing`. "
            f"{data_set.origin}".rstrip()
        )
    if not images:
        raise not_found(data_set, root, f"No image of the split {split!r} was found. ")

    paths, category, defect, masks, split = zip(*images, strict=True)
    target = np.array([kind != GOOD for kind in defect]).astype(np.int64)
    names = sorted(set(category))
    if descr is None:
        file = files(__package__) / "data" / f"{data_set.name}.rst"
        descr = file.read_text(encoding="utf-8")
    descr += _SELECTION.format(
        n_images=len(paths),
        n_anomalous=int(target.sum()),
        n_masks=sum(mask is not None for mask in masks),
        categories=f"{len(names)}: {shortened(names)}",
        split=", ".join(sorted(set(split))),
    )

    return Bunch(
        paths=np.array(paths, dtype=object),
        target=target,
        category=np.array(category),
        defect=np.array(defect),
        mask_paths=np.array(masks, dtype=object),
        split=np.array(split),
        category_names=names,
        missing=list(missing),
        name=data_set.name,
        DESCR=descr,
    )
