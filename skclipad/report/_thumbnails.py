"""Images and maps made small enough that thousands fit into one page."""

import base64
import io

import numpy as np
from PIL import Image

from skclipad._exceptions import ImageReadError
from skclipad._images.crops import crop_boxes
from skclipad._images.reading import read_reduced

# A heat map's colours, from nothing through blue and red to yellow: stops of
# matplotlib's plasma. Brightness grows with every level and blue lies around yellow, so
# that no kind of colour-blindness hides one from the other. Where a map is low, the
# image under it shows.
STOPS = [(13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33)]
LEVELS = 32  # of a heat map: smooth to the eye, and two hundred bytes of palette
OPACITY = 0.85  # of the highest level
USUAL_AREA = 0.95  # of images whose score is not above the median
LEAST_SPAN = 0.1  # of a scale: less is no find, whatever the highest value
QUALITIES = (82, 70, 55, 40)


def thumbnail(image, row, side, n_bytes):
    """Make a JPEG of an image, at most so many pixels a side and so many bytes.

    Quality and, in the end, pixels are given up to stay below `n_bytes`. Returns width,
    height and the file in base64, or None if the image cannot be read.
    """
    try:
        small, _ = read_reduced(image, crop_boxes, (side, side), row)
        small = small.copy()
    except ImageReadError:
        return None
    small.thumbnail((side, side), Image.Resampling.LANCZOS)

    while True:
        for quality in QUALITIES:
            data = _encoded(small, "JPEG", quality=quality, optimize=True)
            if len(data) <= n_bytes:
                return {
                    "w": small.width,
                    "h": small.height,
                    "jpg": base64.b64encode(data).decode(),
                }

        if max(small.size) < 32:
            return None  # no room at all was left
        small = small.reduce(2)


def heat_map(values, low, high):
    """Colour a map from clear at `low` to yellow at `high`: a PNG in base64."""
    share = (np.asarray(values, dtype=float) - low) / (high - low)
    share = np.nan_to_num(share).clip(0, 1)
    levels = np.rint(share * (LEVELS - 1)).astype(np.uint8)

    image = Image.fromarray(levels)
    image.putpalette(COLOURS[:, :3].tobytes())
    transparency = COLOURS[:, 3].tobytes()
    data = _encoded(image, "PNG", optimize=True, transparency=transparency)
    return base64.b64encode(data).decode()


def heat_scale(maps, scores):
    """Return the ends of one scale for all maps, or None if there is no map.

    Clear is what is usual: all but a twentieth of the area of those images whose score
    is at most the median, where any of them has a map. The highest level is the highest
    value, but never so near that the noise of images without a find is spread over all
    colours.
    """
    maps = [None if one is None else np.asarray(one, dtype=float) for one in maps]
    finite = [None if one is None else one[np.isfinite(one)] for one in maps]
    there = [row for row, values in enumerate(finite) if values is not None]
    there = [row for row in there if len(finite[row])]
    if not there:
        return None

    median = np.nanmedian(scores) if np.isfinite(scores).any() else np.inf
    usual = [finite[row] for row in there if scores[row] <= median]
    if usual:
        low = np.quantile(np.concatenate(usual), USUAL_AREA)
    else:
        low = np.median(np.concatenate([finite[row] for row in there]))
    high = max(finite[row].max() for row in there)
    return float(low), float(max(high, low + LEAST_SPAN))


def _encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def _colours():
    """Return the colours of all levels, of shape (LEVELS, 4): RGB and opacity."""
    share = np.linspace(0, 1, LEVELS)
    stops = np.linspace(0, 1, len(STOPS))
    columns = [np.interp(share, stops, channel) for channel in zip(*STOPS, strict=True)]
    columns.append(255 * OPACITY * share)
    return np.rint(np.stack(columns, axis=1)).astype(np.uint8)


COLOURS = _colours()
