"""Large JPEG files, which `--decode reduced` reads faster: when to say so."""

from functools import partial

from skclipad._embedder import load_clip
from skclipad._images.crops import crop_boxes
from skclipad._images.reading import is_reducible
from skclipad.cli._console import echo
from skclipad.scoring._plan import spread

LOOKED_AT = 16  # images, of which most must be large


def would_gain(detector, paths):
    """Tell whether most images of a detector would be read faster by being reduced."""
    embedder = detector.embedder
    if embedder.decode == "reduced" or _reads_in_full(detector):
        return False

    boxes_of = partial(crop_boxes, crops=embedder.crops)
    size, some = load_clip(embedder).image_size, spread(paths, LOOKED_AT)
    n_large = sum(is_reducible(path, boxes_of, size) for path in some)
    return n_large > len(some) / 2


def tell_decoding(detector):
    """Say where `--decode reduced` changes nothing."""
    if detector.embedder.decode == "reduced" and _reads_in_full(detector):
        why = "a region" if detector.references_ is None else "references"
        echo(
            f"Note: with {why} pictures are decoded in full: --decode reduced changes "
            "nothing"
        )


def _reads_in_full(detector):
    has_region = detector.embedder.region is not None
    return has_region or detector.references_ is not None
