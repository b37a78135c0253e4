"""`load_visa`: the pictures of VisA, from disk, in either of its layouts."""

from pathlib import Path

from skclipad.datasets._layout import SPLITS, read_layout
from skclipad.datasets._pictures import (
    GOOD,
    DataSet,
    Picture,
    check_option,
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
    ``root/1cls``). Nothing is downloaded and no picture is opened.

    Parameters
    ----------
    root : str or path-like
        The folder that holds one folder for each category.
    category : str or list of str, default=None
        Which categories, such as "candle"; None takes all.
    split : {"test", "train", "all"}, default="test"
        "test" for the pictures to be judged, normal and anomalous; "train" for the
        normal training pictures, which few-shot detection draws from; "all" for both.
    on_missing : {"raise", "list"}, default="raise"
        Whether a picture or mask that is not there is an error or only listed in
        ``missing``; in the latter case the picture is left out.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        The attributes of `load_mvtec_ad`'s; ``name`` is "visa". ``defect`` is "good"
        for a normal picture; for another the words of the category's
        ``image_anno.csv`` ("chunk of wax missing"), "anomaly" without that file, and
        "bad" in the layout of MVTec-AD. Pictures of the original layout come in the
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

    See Also
    --------
    load_mvtec_ad : The same for MVTec-AD; says what is returned.
    write_visa_layout : Writes pictures in the original layout.

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
    check_option("split", split, SPLITS)
    check_option("on_missing", on_missing, ("raise", "list"))
    root = Path(root)
    if root.joinpath(*TABLE).is_file():
        pictures, missing = present(_read_original(root, category, split))
    else:
        inner = root / "1cls"
        source = inner if inner.is_dir() else root
        pictures, missing = read_layout(source, VISA, category, split)
    return to_bunch(pictures, missing, VISA, root, split, on_missing)


def _read_original(root, category, split):
    """Return what `TABLE` tells of, whether or not it is there."""
    table = root.joinpath(*TABLE)
    rows = read_table(table, COLUMNS)
    found = {row["object"] for row in rows}
    names = choose_categories(found, category, VISA, root)
    kinds = {}
    for name in names:
        kinds.update(_read_kinds(root / name / KINDS_TABLE))
    pictures = []
    for number, row in enumerate(rows, start=2):
        if row["label"] not in LABELS or row["split"] not in SPLITS[:2]:
            raise ValueError(
                f"Got label={row['label']!r} and split={row['split']!r} in line "
                f"{number} of {table} but expected normal or anomaly, train or test."
            )
        if row["object"] in names and split in (row["split"], "all"):
            normal = row["label"] == "normal"
            pictures.append(
                Picture(
                    path=str(root / row["image"]),
                    category=row["object"],
                    defect=GOOD if normal else kinds.get(row["image"], row["label"]),
                    mask=str(root / row["mask"]) if row["mask"] else None,
                    split=row["split"],
                )
            )
    return pictures


def _read_kinds(table):
    """Return {image: kind of defect}, empty if the data came without the file."""
    if not table.is_file():
        return {}
    return {row["image"]: row["label"] for row in read_table(table, KINDS_COLUMNS)}
