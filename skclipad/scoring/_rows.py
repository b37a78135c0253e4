"""Images in, rows of a table out: scores, labels, and why an image has none.

The command line and Dask write the same rows, so a row is made in one place: here.
"""

import copy
import hashlib
import inspect
import os
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4
from weakref import WeakSet

import numpy as np

import skclipad
from skclipad._embedder import CLIPImageEmbedder, region_name
from skclipad._exceptions import ImageReadError
from skclipad._images.bit_depth import BitDepth
from skclipad._images.reading import read_image
from skclipad._images.regions import cut_images, parse_region
from skclipad._inputs import Inputs

NAMELESS = "a callable that no import finds is never taken for the same"

# What determines a score beside what `fit` learnt.
_SETTINGS = (
    *("scores", "combine", "combine_views", "temperature", "threshold"),
    *("reference_share", "reference_top"),
    *("embedder__crops", "embedder__resize_mode", "embedder__precision"),
    "embedder__bit_depth",
)
_LEARNT = ("coefs_", "intercepts_", "prompt_embeddings_", "references_")
_LEARNT += ("reference_scales_",)

_warned_of_depth = WeakSet()  # detectors with blocks of dark 16-bit images


def row_columns(components=()):
    """Return the columns of a table of scores, as a dict of name to str, int or float.

    `components` are names of scores, as `score_components` gives them.
    """
    scores = dict.fromkeys(("s_pr", "s_fnn", "s_img", *components), float)
    return {"path": str, "score": float, "label": int, **scores, "error": str}


def detector_of_rows(detector):
    """Return a silent copy of a detector, for which a bad image is a row, no error."""
    detector = copy.deepcopy(detector)
    if detector.embedder is None:
        detector.set_params(embedder=CLIPImageEmbedder())
    return detector.set_params(embedder__on_error="nan", embedder__verbose=False)


@dataclass(frozen=True, eq=False)
class Block:
    """Images that are scored together, and what they show, if that is known."""

    start: int  # position of the first one among all
    paths: list
    objects: list | None = None

    def __len__(self):
        return len(self.paths)

    def part(self, first, last):
        """Return a block of some of its images, from `first` up to `last`."""
        objects = None if self.objects is None else self.objects[first:last]
        return Block(self.start + first, self.paths[first:last], objects)


def cut_blocks(paths, size, objects=None):
    """Cut images into blocks by their positions; the last one may be smaller."""
    everything = Block(0, paths, objects)
    return [everything.part(i, i + size) for i in range(0, len(paths), size)]


def score_block(detector, block):
    """Return the rows of a block."""
    if block.objects is None:
        return score_rows(detector, block.paths)
    return score_rows(detector, block.paths, block.objects)


def score_rows(detector, paths, objects=None):
    """Score images and return their rows, in order, with the columns of `row_columns`.

    What does not apply is left out of a row: an image without a score has "path" and
    "error" alone. `objects` says what the images show, if it is known of each.
    """
    X = paths if objects is None else Inputs(objects=objects, source=paths)
    with _warnings_of_one_block(detector):
        columns = detector.score_components(X)
    score = detector.combine_components(columns)

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
    """Return 1 if a score is above the threshold, else 0, as every table does.

    They are compared in float64, which is what a table holds and what somebody types:
    numpy would round the threshold to the precision of the score.
    """
    return int(float(score) > float(threshold))


@contextmanager
def _warnings_of_one_block(detector):
    """Let through what is to be said once for all blocks of a detector."""
    with warnings.catch_warnings(record=True) as caught:
        # Unreadable images are told about row by row.
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
    """Write a path so that every table can hold it: what is no UTF-8 with escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _why_not(path, detector):
    """Say why an image has no score, by trying once more to read it."""
    (item,) = cut_images([path], parse_region(detector.embedder.region))
    try:
        read_image(item, depth=BitDepth(detector.embedder.bit_depth))
    except ImageReadError as error:
        return error.reason
    return "not readable at first, but it is now"


def detector_identity(detector, leave_out=()):
    """Say what determines the scores of a detector, to compare with another run's.

    That is a dict of texts: "detector", a digest of what `fit` learnt, "backbone",
    "skclipad", its version, and each setting but those to leave out. The model is not
    loaded for it.
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
    # Without references every image may be decoded small, with them none is.
    if detector.embedder.decode != "full" and detector.references_ is None:
        identity["embedder__decode"] = repr(detector.embedder.decode)
    # By what it shows, not by the name of a mask.
    if (region := region_name(detector.embedder)) is not None:
        identity["embedder__region"] = region
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
