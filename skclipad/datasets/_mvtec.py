"""`load_mvtec_ad`: the images of MVTec-AD, from disk."""

from pathlib import Path

from skclipad.datasets._layout import SPLITS, read_layout
from skclipad.datasets._pictures import DataSet, check_options, to_bunch

MVTEC_AD = DataSet(
    name="mvtec_ad",
    title="MVTec-AD",
    layout="folders CATEGORY/test/good, CATEGORY/test/DEFECT, CATEGORY/train/good and "
    "CATEGORY/ground_truth/DEFECT, such as bottle/test/broken_large",
    origin="MVTec-AD is to be had from MVTec Software GmbH, by the name 'MVTec AD' "
    "(mvtec_anomaly_detection.tar.xz); root is the folder it was unpacked into.",
    categories=(
        *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather"),
        *("metal_nut", "pill", "screw", "tile", "toothbrush", "transistor", "wood"),
        "zipper",
    ),
)


def load_mvtec_ad(root, category=None, split="test", *, on_missing="raise"):
    """Load MVTec-AD, or any data in its layout, from disk.

    Nothing is downloaded and no image is opened. What every loader returns is
    described here.

    Parameters
    ----------
    root : str or path-like
        The folder that holds one folder for each category.
    category : str or list of str, default=None
        Which categories, by the names of their folders; None takes all.
    split : {"test", "train", "all"}, default="test"
        "test" for the images to be judged, normal and anomalous; "train" for the
        normal training images, which few-shot detection draws from; "all" for both.
    on_missing : {"raise", "list"}, default="raise"
        Whether an incomplete category, or a defect without its mask, is an error or
        only listed in ``missing``.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        paths : ndarray of shape (n_samples,), object
            The images' files, each a str; sorted by category, split, kind of defect
            and name.
        target : ndarray of shape (n_samples,), int
            0 for normal, 1 for anomalous.
        category : ndarray of shape (n_samples,), str
            What is shown, as the data set spells it ("metal_nut").
        defect : ndarray of shape (n_samples,), str
            The kind of defect in the data set's own word ("broken_large"), "good" for
            every normal image.
        mask_paths : ndarray of shape (n_samples,), object
            Files of masks that are above 0 where the image is damaged; None for a
            image without.
        split : ndarray of shape (n_samples,), str
            "test" or "train".
        category_names : list of str
            The categories, sorted.
        missing : list of str
            Files and folders that ought to be there and are not.
        name : str
            "mvtec_ad".
        DESCR : str
            Description of the data set, with its licence and what to cite.

    Raises
    ------
    FileNotFoundError
        If `root` holds no category, or something is missing (see `on_missing`). The
        message says what was looked for, what was found and where the data is to be
        had.
    ValueError
        If a category is not there, or a parameter has no such value.

    Warns
    -----
    UserWarning
        If `category` is None and only some of the 15 published categories are there.

    References
    ----------
    .. [1] P. Bergmann, K. Batzner, M. Fauser, D. Sattlegger and C. Steger, "The MVTec
       Anomaly Detection Dataset", International Journal of Computer Vision 129, 2021.

    Examples
    --------
    >>> import tempfile
    >>> from skclipad.datasets import (
    ...     load_mvtec_ad, make_defect_images, write_mvtec_layout
    ... )
    >>> photos = make_defect_images(8, categories=["coin", "gear"], random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     root = write_mvtec_layout(photos, f"{folder}/painted")
    ...     data = load_mvtec_ad(root)
    >>> data.category_names, len(data.paths), int(data.target.sum())
    (['coin', 'gear'], 8, 5)
    """
    check_options(split, SPLITS, on_missing)
    root = Path(root)
    images, missing = read_layout(root, MVTEC_AD, category, split)
    return to_bunch(images, missing, MVTEC_AD, root, split, on_missing)
