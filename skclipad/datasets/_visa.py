"""`load_visa`: the images of VisA, from disk, in either of its layouts."""

from pathlib import Path

from skclipad.datasets._layout import SPLITS, read_layout
from skclipad.datasets._pictures import (
    GOOD,
    DataSet,
    ImageRecord,
    check_options,
    choose_categories,
    present,
    read_table,
    to_bunch,
)

VISA = DataSet(
    name="visa",
    title="VisA",
    layout="split_csv/1cls.csv beside folders such as candle/Data/Images/Normal, or "
    "the layout of MVTec-AD with folders such as candle/test/good and candle/test/bad",
    origin="VisA is to be had from Amazon Science, by the name 'Visual Anomaly (VisA) "
    "dataset' of the project 'spot-diff' (VisA_20220922.tar); root is the folder it "
    "was unpacked into.",
    categories=(
        *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1"),
        *("macaroni2", "pcb1", "pcb2", "pcb3", "pcb4", "pipe_fryum"),
    ),
)
TABLE = ("split_csv", "1cls.csv")
COLUMNS = ("object", "split", "label", "image", "mask")
KINDS_TABLE = "image_anno.csv"  # in each category's folder
KINDS_COLUMNS = ("image", "label", "mask")
LABELS = ("normal", "anomaly")


def load_visa(root, category=None, split="test", *, on_missing="raise"):
    """Load VisA from disk.

    Its layout may be the original one, with the split of ``split_csv/1cls.csv``, or
    that of MVTec-AD, into which the authors' own script brings it (below `root` or
    ``root/1cls``). Nothing is downloaded and no image is opened.

    Parameters
    ----------
    root : str or path-like
        The folder that holds one folder for each category.
    category : str or list of str, default=None
        Which categories, such as "candle"; None takes all.
    split : {"test", "train", "all"}, default="test"
        "test" for the images to be judged, normal and anomalous; "train" for the
        normal training images, which few-shot detection draws from; "all" for both.
    on_missing : {"raise", "list"}, default="raise"
        Whether an image or mask that is not there is an error or only listed in
        ``missing``; in the latter case the image is left out.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        The attributes of `load_mvtec_ad`'s; ``name`` is "visa". ``defect`` is "good"
        for a normal image; for another the words of the category's
        ``image_anno.csv`` ("chunk of wax missing"), "anomaly" without that file, and
        "bad" in the layout of MVTec-AD. Images of the original layout come in the
        order of ``1cls.csv``.

    Raises
    ------
    FileNotFoundError
        If `root` has neither layout, or something is missing (see `on_missing`). The
        message says what was looked for, what was found and where the data is to be
        had.
    ValueError
        If a category is not there, a parameter has no such value, or ``1cls.csv`` is
        not what it should be.

    Warns
    -----
    UserWarning
        If `category` is None and only some of the 12 published categories are there.

    References
    ----------
    .. [1] Y. Zou, J. Jeong, L. Pemula, D. Zhang and O. Dabeer, "SPot-the-Difference
       Self-Supervised Pre-training for Anomaly Detection and Segmentation", ECCV 2022.

    Examples
    --------
    >>> import tempfile
    >>> from skclipad.datasets import load_visa, make_defect_images, write_visa_layout
    >>> photos = make_defect_images(16, categories=["coin", "gear"], random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     root = write_visa_layout(photos, f"{folder}/painted", n_train=1)
    ...     test = load_visa(root)
    ...     train = load_visa(root, split="train")
    >>> len(test.paths), len(train.paths), int(train.target.sum())
    (14, 2, 0)
    """
    check_options(split, SPLITS, on_missing)
    root = Path(root)
    if root.joinpath(*TABLE).is_file():
        images, missing = present(_read_original(root, category, split))
    else:
        inner = root / "1cls"
        source = inner if inner.is_dir() else root
        images, missing = read_layout(source, VISA, category, split)
    return to_bunch(images, missing, VISA, root, split, on_missing)


def _read_original(root, category, split):
    """Return what `TABLE` tells of, whether or not it is there."""
    table = root.joinpath(*TABLE)
    rows = read_table(table, COLUMNS)
    names = choose_categories({row["object"] for row in rows}, category, VISA, root)
    kinds = {}
    for name in names:
        kinds.update(_read_kinds(root / name / KINDS_TABLE))

    images = []
    for number, row in enumerate(rows, start=2):
        if row["label"] not in LABELS or row["split"] not in SPLITS[:2]:
            raise ValueError(
                f"Got label={row['label']!r} and split={row['split']!r} in line "
                f"{number} of {table} but expected normal or anomaly, train or test."
            )
        if row["object"] in names and split in (row["split"], "all"):
            images.append(_record(row, root, kinds))
    return images


def _record(row, root, kinds):
    normal = row["label"] == "normal"
    return ImageRecord(
        path=str(root / row["image"]),
        category=row["object"],
        defect=GOOD if normal else kinds.get(row["image"], row["label"]),
        mask=str(root / row["mask"]) if row["mask"] else None,
        split=row["split"],
    )


def _read_kinds(table):
    """Return {image: kind of defect}, empty if the data came without the file."""
    if not table.is_file():
        return {}
    return {row["image"]: row["label"] for row in read_table(table, KINDS_COLUMNS)}
