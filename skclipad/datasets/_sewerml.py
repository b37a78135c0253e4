"""`load_sewerml`: the images of Sewer-ML, from disk."""

import os
from pathlib import Path

from skclipad.datasets._pictures import (
    GOOD,
    DataSet,
    ImageRecord,
    check_options,
    not_found,
    read_table,
    to_bunch,
)

SEWERML = DataSet(
    name="sewerml",
    title="Sewer-ML",
    layout="SewerML_Val.csv or SewerML_Train.csv, in it or in its folder annotations, "
    "and the images anywhere below it",
    origin="Sewer-ML is to be had from Aalborg University (Visual Analysis and "
    "Perception Laboratory), by the name 'Sewer-ML', after filling in a form.",
)
SPLITS = ("Val", "Train")
CATEGORY = "sewer_pipe"
# The classes of defects. VA and WaterLevel tell the water level, ND that there is none.
CLASSES = (
    *("RB", "OB", "PF", "DE", "FS", "IS", "RO", "IN", "AF"),
    *("BE", "FO", "GR", "PH", "PB", "OS", "OP", "OK"),
)


def load_sewerml(root, split="Val", *, on_missing="raise"):
    """Load Sewer-ML from disk.

    Its annotations are read from ``SewerML_Val.csv``; an image is anomalous if it
    shows any class of defect. The images may lie in `root` or in any folder below,
    such as those of the archives that they come in. Nothing is downloaded and no
    image is opened.

    Parameters
    ----------
    root : str or path-like
        The folder that holds annotations and images.
    split : {"Val", "Train"}, default="Val"
        Which annotations. The paper judges the validation set; labels of the test set
        are not published.
    on_missing : {"raise", "list"}, default="raise"
        Whether an image that is not there is an error or is left out and listed in
        ``missing``.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        The attributes of `load_mvtec_ad`'s, with these differences. ``name`` is
        "sewerml"; every ``category`` is "sewer_pipe"; there are no masks; ``split`` is
        "Val" or "Train"; ``defect`` joins the codes of the classes ("RB+FS"), is
        "good" for a normal image, and "Defect" where only that is known. Images
        come in the order of the annotations.

    Raises
    ------
    FileNotFoundError
        If there are no such annotations, or images are missing (see `on_missing`).
        The message says what was looked for, what was found and where the data is to
        be had.
    ValueError
        If a parameter has no such value, or the annotations have neither a column
        ``Defect`` nor one for each class, or hold other values than 0 and 1.

    References
    ----------
    .. [1] J. B. Haurum and T. B. Moeslund, "Sewer-ML: A Multi-Label Sewer Defect
       Classification Dataset and Benchmark", CVPR 2021.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclipad.datasets import load_sewerml
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     annotations = Path(folder, "SewerML_Val.csv")
    ...     _ = annotations.write_text("Filename,Defect\\n1.png,0\\n2.png,1\\n")
    ...     Path(folder, "1.png").touch()
    ...     data = load_sewerml(folder, on_missing="list")
    >>> data.target, data.missing
    (array([0]), ['2.png'])
    """
    check_options(split, SPLITS, on_missing)
    root = Path(root)

    name = f"SewerML_{split}.csv"
    tables = [folder / name for folder in (root, root / "annotations")]
    table = next((table for table in tables if table.is_file()), None)
    if table is None:
        raise not_found(SEWERML, root, f"There is no {name}. ")

    kinds = _read_kinds(table)
    paths = _find(root, set(kinds), split)
    images = [
        ImageRecord(paths[file], CATEGORY, kind, None, split)
        for file, kind in kinds.items()
        if file in paths
    ]
    missing = [file for file in kinds if file not in paths]
    return to_bunch(images, missing, SEWERML, root, split, on_missing)


def _read_kinds(table):
    """Return {file name: kind of defect} in the order of the annotations."""
    rows = read_table(table, ("Filename",))
    columns = rows[0].keys() if rows else ()
    classes = [name for name in CLASSES if name in columns]
    if "Defect" not in columns and len(classes) < len(CLASSES):
        raise ValueError(
            f"Got the columns {', '.join(columns) or '(no row)'} in {table} but "
            f"expected Defect or the classes {', '.join(CLASSES)}. {SEWERML.origin}"
        )

    flags = [*classes, "Defect"] if "Defect" in columns else classes
    kinds = {}
    for row in rows:
        values = [row[name] for name in flags]
        if not {"0", "1"}.issuperset(values):
            raise ValueError(
                f"Got {dict(zip(flags, values, strict=True))} for {row['Filename']} in "
                f"{table} but expected 0 and 1."
            )

        shown = [name for name in classes if row[name] == "1"]
        if not shown and row.get("Defect") == "1":
            shown = ["Defect"]
        kinds[row["Filename"]] = "+".join(shown) or GOOD
    return kinds


def _find(root, wanted, split):
    """Return {file name: path} of the files wanted, wherever below root they are.

    Folders named after the split are looked into first, and no other once all is found:
    the training set has a million files.
    """
    paths = {}
    for folder, folders, names in os.walk(root):
        folders.sort(
            key=lambda name: (not name.lower().startswith(split.lower()), name)
        )
        for name in wanted.intersection(names):
            paths.setdefault(name, os.path.join(folder, name))
        if len(paths) == len(wanted):
            break
    return paths
