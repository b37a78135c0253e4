"""`load_folder`: your own images, labelled by their folders or by a CSV file."""

from functools import partial
from pathlib import Path

from skclipad.datasets._layout import (
    SPLITS,
    image_files,
    is_category,
    read_categories,
    read_kind,
    sub_folders,
)
from skclipad.datasets._pictures import (
    GOOD,
    DataSet,
    ImageRecord,
    check_options,
    choose_categories,
    not_found,
    present,
    read_table,
    to_bunch,
)

LAYOUT = (
    "one folder of images for each kind, such as good/ and scratch/, or these below "
    "test/ or CATEGORY/test/; or a CSV file with the columns path and label"
)
COLUMNS = ("path", "label")
_DESCR = """\
Images of your own
--------------------

Read from {where}.
"""


def load_folder(
    root,
    category=None,
    split="test",
    *,
    labels=None,
    good="good",
    on_missing="raise",
):
    """Load images of your own, labelled by their folders or by a CSV file.

    These layouts are told apart, in this order:

    - a CSV file (`labels`, or `root` itself) with the columns ``path`` and ``label``
      and, if you like, ``category``, ``mask`` and ``split``. Paths that are not
      absolute begin at `root`, or at the folder of the CSV file if it is the root. A
      label is 0 or 1, or a kind of defect;
    - ``root/test/KIND`` and ``root/train/good``;
    - ``root/CATEGORY/test/KIND`` and ``root/CATEGORY/train/good``;
    - ``root/KIND``.

    Where masks lie in ``ground_truth/KIND`` beside ``test``, they are found. No
    image is opened.

    Parameters
    ----------
    root : str or path-like
        The folder, or a CSV file.
    category : str or list of str, default=None
        Which categories; None takes all. Without folders or a column of categories,
        the name of `root` is the only one.
    split : {"test", "train", "all"}, default="test"
        "test" for the images to be judged; "train" for normal training images,
        which few-shot detection draws from; "all" for both. Where nothing tells the
        two apart, all images are for testing.
    labels : str or path-like, default=None
        A CSV file, if the labels stand in one and `root` is the folder of images; a
        name that is not found where you are is looked for in `root`.
    good : str, default="good"
        The folder's name, or the label, that marks normal images.
    on_missing : {"raise", "list"}, default="raise"
        Whether an image or mask that the CSV file names and that is not there is an
        error or is left out and listed in ``missing``.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        The attributes of `load_mvtec_ad`'s; ``name`` is that of the folder. ``defect``
        is "good" for a normal image, else the folder's name or the label ("anomaly"
        for 1). Images of a CSV file come in its order.

    Raises
    ------
    FileNotFoundError
        If `root` has none of these layouts, there is no image for that `split`, or
        something is missing (see `on_missing`).
    ValueError
        If no label or folder is `good`, a category is not there, a parameter has no
        such value, or the CSV file lacks a column.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclipad.datasets import load_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("fine/1.jpg", "fine/2.jpg", "cracked/3.jpg"):
    ...         path = Path(folder, "mugs", name)
    ...         path.parent.mkdir(parents=True, exist_ok=True)
    ...         path.touch()
    ...     data = load_folder(Path(folder, "mugs"), good="fine")
    >>> data.target, data.defect.tolist(), data.category_names
    (array([1, 0, 0]), ['cracked', 'good', 'good'], ['mugs'])
    """
    check_options(split, SPLITS, on_missing)
    root = Path(root)

    table = _find_table(root, labels)
    base = root.parent if table == root else root
    name = base.resolve().name
    mine = DataSet(name, title=name, layout=LAYOUT)

    if table is not None:
        images = _read_labels(table, base, name, good)
        found = {image.category for image in images}
        names = choose_categories(found, category, mine, table)
        images, missing = present(
            image
            for image in images
            if image.category in names and split in (image.split, "all")
        )
    else:
        images, missing = _read_folders(root, mine, category, split, good)

    descr = _DESCR.format(where=table or root)
    return to_bunch(images, missing, mine, root, split, on_missing, descr=descr)


def _find_table(root, labels):
    """Return the CSV file that holds the labels, or None."""
    if labels is None:
        return root if root.is_file() else None
    possible = [Path(labels), root / labels]
    table = next((path for path in possible if path.is_file()), None)
    if table is None:
        raise FileNotFoundError(
            f"Got labels={str(labels)!r} but there is no such file, neither there nor "
            f"in {root}. Pass a CSV file with the columns {' and '.join(COLUMNS)}."
        )
    return table


def _read_labels(table, base, name, good):
    """Return the images that a CSV file tells of, whether or not they are there."""
    rows = read_table(table, COLUMNS)
    labels = {row["label"] for row in rows}
    words = {"0": GOOD, "1": "anomaly"} if labels <= {"0", "1"} else {good: GOOD}
    _check_good(words.keys() & labels - {"1"}, labels, good, table)

    return [
        ImageRecord(
            path=str(base / row["path"]),
            category=row.get("category") or name,
            defect=words.get(row["label"], row["label"]),
            mask=str(base / row["mask"]) if row.get("mask") else None,
            split=row.get("split") or "test",
        )
        for row in rows
    ]


def _read_folders(root, mine, category, split, good):
    """Return (images, missing) of whichever layout of folders it is."""
    folders = {f.name: f for f in sub_folders(root) if is_category(f)}
    if is_category(root):
        folders = {mine.name: root}
    if folders:
        parts = [f / part for f in folders.values() for part in ("test", "train")]
        kinds = [kind for part in parts for kind in sub_folders(part)]
    else:
        kinds = [kind for kind in sub_folders(root) if image_files(kind)]
    if not kinds:
        raise not_found(mine, root)

    words = {kind.name for kind in kinds}
    _check_good(words & {good}, words, good, root)
    names = choose_categories(folders or {mine.name}, category, mine, root)

    if folders:
        chosen = {name: folders[name] for name in names}
        return read_categories(chosen, split, good=good, masks_expected=False)
    if split == "train":
        return [], []
    read = partial(read_kind, category=mine.name, split="test", good=good)
    return [image for kind in kinds for image in read(kind)], []


def _check_good(normal, names, good, where):
    if not normal:
        raise ValueError(
            f"Got good={good!r} but {where} has {', '.join(sorted(names)) or 'nothing'}"
            ". Pass as `good` the one that marks normal images."
        )
