"""What the loaders share: pictures found on disk become a Bunch, or a clear error."""

import csv
import os
import warnings
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

GOOD = "good"  # the kind of defect of a normal picture, whatever a data set calls it
_SHOWN = 20  # missing files that an error lists by name

_SELECTION = """
=================   ==================================================
Pictures            {n_pictures}, of which {n_anomalous} anomalous
Masks               {n_masks}
Categories          {categories}
Split               {split}
=================   ==================================================
"""


class Picture(NamedTuple):
    """One picture of a data set, not yet opened.

    Attributes
    ----------
    path : str
        Its file.
    category : str
        What it shows.
    defect : str
        The kind of defect, `GOOD` for a normal picture.
    mask : str or None
        File that marks the damaged pixels.
    split : str
        Part of the data set that it belongs to.
    """

    path: str
    category: str
    defect: str
    mask: str | None
    split: str


class DataSet(NamedTuple):
    """What is known of a data set before its folder is opened.

    Attributes
    ----------
    name : str
        Short name, also of its description among the package's data.
    title : str
        The name that people use.
    layout : str
        What its folder holds, for errors.
    origin : str
        Where it is to be had, for errors.
    categories : tuple of str
        The categories of the published data; empty if there is no such list.
    """

    name: str
    title: str
    layout: str
    origin: str = ""
    categories: tuple = ()


def check_option(name, value, options):
    """Raise unless a parameter has one of its possible values."""
    if value not in options:
        raise ValueError(
            f"Got {name}={value!r} but expected {' or '.join(map(repr, options))}."
        )


def not_found(data_set, root, reason=""):
    """Return the error that says what was looked for, what was found, where to get it.

    Parameters
    ----------
    data_set : DataSet
    root : Path
        The folder that was looked into.
    reason : str
        What in particular is wrong, if more is known.
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
            warnings.warn(
                f"{root} holds {len(found)} of the {len(data_set.categories)} "
                f"categories of {data_set.title}; {', '.join(sorted(absent))} are not "
                f"there. Pass category={sorted(found)} if that is meant.",
                stacklevel=4,
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


def present(pictures):
    """Split pictures into those whose files are there and a list of missing files.

    A picture without its file is left out; one without its mask stays, its mask None.
    """
    here, missing = [], []
    for picture in pictures:
        if not os.path.isfile(picture.path):
            missing.append(picture.path)
            continue
        if picture.mask is not None and not os.path.isfile(picture.mask):
            missing.append(picture.mask)
            picture = picture._replace(mask=None)
        here.append(picture)
    return here, missing


def to_bunch(pictures, missing, data_set, root, split, on_missing, *, descr=None):
    """Return pictures as a Bunch.

    Parameters
    ----------
    pictures : list of Picture
    missing : list of str
        Files and folders that ought to be there and are not.
    data_set : DataSet
    root : Path
    split : str
        The one asked for.
    on_missing : {"raise", "list"}
        Whether anything missing is an error.
    descr : str, default=None
        Description; None takes the one of that name among the package's data.

    Raises
    ------
    FileNotFoundError
        If something is missing, unless it is only to be listed; if no picture is left.
    """
    if missing and on_missing == "raise":
        raise FileNotFoundError(
            f"{len(missing)} files or folders of {data_set.title} are missing: "
            f"{shortened(missing)}. Bring them back, or pass on_missing='list' "
            "to load the rest and find these in the Bunch's `missing`. "
            f"{data_set.origin}".rstrip()
        )
    if not pictures:
        raise not_found(
            data_set, root, f"No picture of the split {split!r} was found. "
        )
    paths, category, defect, masks, split = zip(*pictures, strict=True)
    target = np.array([kind != GOOD for kind in defect]).astype(np.int64)
    names = sorted(set(category))
    if descr is None:
        descr = (files(__package__) / "data" / f"{data_set.name}.rst").read_text(
            encoding="utf-8"
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
        DESCR=descr
        + _SELECTION.format(
            n_pictures=len(paths),
            n_anomalous=int(target.sum()),
            n_masks=sum(mask is not None for mask in masks),
            categories=f"{len(names)}: {shortened(names)}",
            split=", ".join(sorted(set(split))),
        ),
    )
