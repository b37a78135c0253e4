"""Pictures in, rows of a table out: scores, labels, and why a picture has none.

The command line and Dask write the same rows, so a row is made in one place: here.
"""

import copy
import hashlib
import inspect
import os
import sys
import warnings
from contextlib import contextmanager
from uuid import uuid4
from weakref import WeakSet

import numpy as np

import skclipad
from skclipad._embedder import CLIPImageEmbedder
from skclipad._exceptions import ImageReadError
from skclipad._images.bit_depth import BitDepth
from skclipad._images.reading import read_image
from skclipad._inputs import split_objects

NAMELESS = "a callable that no import finds is never taken for the same"

# What determines a score beside what `fit` learnt.
_SETTINGS = (
    *("scores", "combine_views", "temperature", "threshold"),
    *("embedder__crops", "embedder__resize_mode", "embedder__precision"),
    "embedder__bit_depth",
)
_LEARNT = ("coefs_", "intercepts_", "prompt_embeddings_", "references_")

_warned_of_depth = WeakSet()  # detectors with blocks of dark 16-bit images


def row_columns(components):
    """Name the columns of a table of scores and their types.

    Parameters
    ----------
    components : iterable of str
        Names of the scores, as `score_components` gives them.

    Returns
    -------
    dict of str to type
        `str`, `int` or `float` by name.
    """
    scores = dict.fromkeys(("s_pr", "s_fnn", "s_img", *components), float)
    return {"path": str, "score": float, "label": int, **scores, "error": str}


def detector_of_rows(detector):
    """Return a copy of a detector for which a bad picture is a row, not an error.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector, which stays as it is.

    Returns
    -------
    RandomWordCLIPDetector
        The copy, silent and with ``on_error="nan"``.
    """
    detector = copy.deepcopy(detector)
    if detector.embedder is None:
        detector.set_params(embedder=CLIPImageEmbedder())
    return detector.set_params(embedder__on_error="nan", embedder__verbose=False)


def score_rows(detector, X):
    """Score pictures and return their rows.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        From `detector_of_rows`.
    X : sequence of str or path-like, or DataFrame
        Paths, or columns "image" (of paths) and "object".

    Returns
    -------
    list of dict
        One a picture, in order, with the columns of `row_columns`; what does not apply
        is left out. A picture without a score has "path" and "error" alone.
    """
    with _warnings_of_one_block(detector):
        columns = detector.score_components(X)
    score = np.asarray(detector.combine_components(columns), dtype=np.float64)
    paths, _ = split_objects(X)
    rows = []
    for i, path in enumerate(paths):
        row = {"path": printable(path)}
        if np.isnan(score[i]):
            rows.append(row | {"error": _why_not(path, detector)})
        else:
            parts = {name: float(column[i]) for name, column in columns.items()}
            label = label_of(score[i], detector.threshold)
            rows.append(row | {"score": float(score[i]), "label": label} | parts)
    return rows


def label_of(score, threshold):
    """Compare a score with the threshold, as every table does.

    Parameters
    ----------
    score, threshold : float
        Numbers of any precision. They are compared in float64, which is what a table
        holds and what somebody types: numpy would round the threshold to the precision
        of the score.

    Returns
    -------
    int
        1 if the score is above the threshold, else 0.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.scoring._rows import label_of
    >>> label_of(np.float32(0.1), 0.1), label_of(0.1, 0.1)
    (1, 0)
    """
    return int(float(score) > float(threshold))


@contextmanager
def _warnings_of_one_block(detector):
    """Let through what is to be said once for all blocks of a detector."""
    with warnings.catch_warnings(record=True) as caught:
        # Unreadable pictures are told about row by row.
        warnings.filterwarnings("ignore", ".* images could not be read")
        yield
    for one in caught:
        if "could not be read" in str(one.message):
            continue  # of a block beside this one, in another thread
        if "bit_depth" in str(one.message):
            if detector in _warned_of_depth:
                continue
            _warned_of_depth.add(detector)
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def printable(path):
    """Write a path so that every table can hold it.

    Parameters
    ----------
    path : str or path-like
        A path.

    Returns
    -------
    str
        The path; bytes of its name that are no UTF-8 are written with escapes.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _why_not(path, detector):
    """Say why a picture has no score, by trying once more to read it."""
    try:
        read_image(path, depth=BitDepth(detector.embedder.bit_depth))
    except ImageReadError as error:
        return error.reason
    return "not readable at first, but it is now"


def detector_identity(detector, leave_out=()):
    """Say what determines the scores of a detector, to compare with another run's.

    The model is not loaded for it.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector.
    leave_out : sequence of str, default=()
        Settings that do not matter to who asks.

    Returns
    -------
    dict of str to str
        "detector", a digest of what `fit` learnt, "backbone", "skclipad", its version,
        and each setting as text.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in _LEARNT:
        value = getattr(detector, name)
        arrays = list(value.values()) if isinstance(value, dict) else value
        for array in () if arrays is None else arrays:
            array = np.ascontiguousarray(array)
            digest.update(f"{name} {array.shape} {array.dtype.str} ".encode())
            digest.update(array.data)
    digest.update(repr((detector.fit_params_, detector.prompt_templates_)).encode())

    settings = detector.get_params()
    identity = {
        "skclipad": skclipad.__version__,
        "backbone": detector.backbone_,
        "detector": digest.hexdigest(),
    }
    for name in _SETTINGS:
        if name in settings and name not in leave_out:
            identity[name] = _as_text(settings[name])
    return identity


def _as_text(value):
    """Write a setting so that equal texts mean the same in any process."""
    if not callable(value):
        return repr(value)
    module, name = (getattr(value, a, "") for a in ("__module__", "__qualname__"))
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    # What a script or a notebook calls by some name it may call so again next time,
    # whatever it does then.
    if found is not value or module == "__main__":
        return f"{name or type(value).__name__}, {NAMELESS} {uuid4().hex}"
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):  # of a compiled module
        source = ""
    return f"{module}.{name} {hashlib.blake2b(source.encode()).hexdigest()[:16]}"
