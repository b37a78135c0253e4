"""`load_sample_photos`: photographs that come with the package."""

from pathlib import Path

from skclipad.datasets._layout import image_files
from skclipad.datasets._pictures import GOOD, DataSet, ImageRecord, to_bunch

_FOLDER = Path(__file__).parent / "data" / "cans"
_DATA_SET = DataSet("sample_photos", "the sample photos", "the package's own photos")


def load_sample_photos():
    """Load photographs of drink cans, good and damaged, that come with the package.

    No bundled model was trained on them.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        The attributes of `load_mvtec_ad`'s, of 17 good and 33 damaged cans: the good
        come first. ``DESCR`` names licence and source.

    Raises
    ------
    FileNotFoundError
        If the package was installed without its data.

    Examples
    --------
    >>> from skclipad.datasets import load_sample_photos
    >>> photos = load_sample_photos()
    >>> len(photos.paths), int(photos.target.sum())
    (50, 33)
    """
    records = [
        ImageRecord(str(path), "can", kind, None, "test")
        for kind in (GOOD, "damaged")
        for path in image_files(_FOLDER / kind)
    ]
    return to_bunch(records, [], _DATA_SET, _FOLDER, "test", "raise")
